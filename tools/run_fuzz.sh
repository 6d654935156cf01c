#!/usr/bin/env bash
# Builds the fuzz targets and runs each of them; fails, and says how to reproduce it, when one finds
# something.
#
#   tools/run_fuzz.sh [SECONDS]           each target for so long (5), as many at once as cores
#   MINUTES=60 tools/run_fuzz.sh          each target in turn for so long, on all cores
#   TARGETS='wal_fuzz' tools/run_fuzz.sh  only these
#
# What they learn stays in build/fuzz/corpus and is where the next run goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-5}
golden=${LITESTREAM_GOLDEN:-$PWD/../shared/golden}
build=build/fuzz
cores=$(nproc)

[[ -e $build/build.ninja ]] || cmake --preset fuzz >/dev/null
nice cmake --build $build --target fuzz_targets -j "$cores"

read -ra targets <<<"${TARGETS:-$(cd fuzz && echo *_fuzz.cc | sed 's/\.cc\b//g')}"
python3 fuzz/make_corpus.py "$golden" $build/corpus "${targets[@]}"
mkdir -p $build/found $build/log

# run TARGET FLAGS...: one line when all is well, else the end of the log.
run() {
  local target=$1 log=$build/log/$1.log
  shift
  if $build/targets/"$target" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix=$build/found/"$target"- "$@" $build/corpus/"$target" >"$log" 2>&1; then
    # The first form is a plain run's, the second that of -fork.
    local count='s/^stat::number_of_executed_units: *//p; s/^#\([0-9]*\): cov:.*/\1/p'
    echo "$target: $(sed -n "$count" "$log" | tail -n 1) inputs, nothing found"
    return
  fi
  tail -n 40 "$log"
  echo "$target FOUND SOMETHING. Again with:"
  sed -n "s|.*Test unit written to \(.*\)|  $build/targets/$target \1|p" "$log" | sort -u
  return 1
}

if [[ -n ${MINUTES:-} ]]; then
  for target in "${targets[@]}"; do
    run "$target" -max_total_time=$((MINUTES * 60)) -fork="$cores" -ignore_ooms=0 -ignore_timeouts=0
  done
  exit
fi
failed=0
for target in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= cores)); do
    wait -n || failed=1
  done
  run "$target" -max_total_time="$seconds" &
done
while (($(jobs -p | wc -l) > 0)); do
  wait -n || failed=1
done
exit $failed
