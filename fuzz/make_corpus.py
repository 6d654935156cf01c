#!/usr/bin/env python3
"""Makes the inputs that fuzzing starts from, out of the golden data.

Usage: make_corpus.py GOLDEN CORPUS TARGET...
Writes CORPUS/TARGET/<sha1 of the content>, and leaves what is there.
"""
import hashlib
import json
import pathlib
import sys

# Small inputs mutate faster, and libFuzzer makes none longer than the longest seed.
MAX_BYTES = 17 * 1024


def files(golden, pattern):
    for path in sorted(golden.glob(pattern)):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            yield path.read_bytes()


def edited(data, edit):
    if edit["op"] == "cut":
        return data[: edit["length"]]
    if edit["op"] == "append":
        return data + bytes.fromhex(edit["hex"])
    flipped = bytearray(data)
    flipped[edit["offset"]] ^= edit["mask"]
    return bytes(flipped)


def wal(golden):
    """What wal_fuzz.cc describes. A limit of 67 * 8 bytes is just a frame of 512-byte pages."""
    choices = [
        bytes([0, 20, 0, 0, 0, 0]),
        bytes([255, 100, 0, 67, 0, 0]),
        bytes([3, 0, 2, 0, 1, 0]),
    ]
    for data in files(golden, "wal/*/db-wal"):
        for choice in choices:
            yield choice + data
    base = (golden / "wal/damage/db-wal").read_bytes()
    for edit in json.loads((golden / "wal/damage/expected.json").read_text())["edits"][::10]:
        yield choices[0] + edited(base, edit)


def names(golden):
    for path in sorted(golden.glob("replica-file/*/replica/**/*.ltx"))[:50]:
        yield path.name.encode()
        yield path.name[:16].encode()
    for path in sorted(golden.glob("replica-file/*/expected.json")):
        for case in json.loads(path.read_text()).get("timestamps", []):
            yield case["timestamp"].encode()
    yield b"2000-01-01T0:00:00,123456789+02:30"
    yield b"0000-01-01T00:00:00.1-24:60"
    yield b"FFFFffffFFFFffff"


def ltx(golden):
    yield from files(golden, "ltx-files/*/*.ltx")
    yield from files(golden, "ltx-corrupt/*.ltx")


def roundtrip(golden):
    """What ltx_roundtrip_fuzz.cc describes, with the golden files as the content of pages."""
    for number, data in enumerate(ltx(golden)):
        pages = [data[i : i + 100] for i in range(0, min(len(data), 1000), 100)]
        yield bytes([number % 32]) + b"".join(bytes([number % 7, len(p)]) + p for p in pages)


def merge(golden):
    """What merge_fuzz.cc describes."""
    for case in sorted(golden.glob("ltx-compact/*/expected.json")):
        inputs = [
            (case.parent / name).read_bytes() for name in json.loads(case.read_text())["inputs"]
        ]
        packed = b"".join(len(data).to_bytes(2, "big") + data for data in inputs)
        if len(packed) < MAX_BYTES:
            yield b"\x1e" + packed
            yield b"\x01" + packed


def config(golden):
    yield from files(golden, "config/*.yml")


def urls(golden):
    text = (golden / "config/expected.json").read_text()
    for case in json.loads(text).get("urls", []):
        yield case["url"].encode()


ABS_ANSWERS = (
    "\0\nx-ms-error-code: AuthenticationFailed\nDate: Sat, 28 Nov 2026 00:36:59 GMT\n\n<Error>"
    "<Code>AuthenticationFailed</Code><Message>m\nRequestId:1</Message></Error>",
    "\1<EnumerationResults><Blobs><Blob><Name>a</Name><Properties><Creation-Time>Sat, 28 Nov 2026 "
    "00:36:59 GMT</Creation-Time><Content-Length>1</Content-Length></Properties><Metadata>"
    "<litestreamtimestamp>2026-11-28T00:36:59Z</litestreamtimestamp></Metadata></Blob></Blobs>"
    "<NextMarker>m</NextMarker></EnumerationResults>",
    '\2{"access_token":"t","expires_in":"3599","expires_on":"1767400000"}',
    "\3DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.example",
    "\4sp=r&st=2026-01-02T03:04:05Z&se=2030-01-01T00%3A00%3A00Z&sig=x",
)


def abs_answers(golden):
    for text in ABS_ANSWERS:
        yield text.encode()


S3_ANSWERS = (
    "\0\nretry-after: 7\nx-amz-bucket-region: eu-west-1\n\n<Error><Code>SlowDown</Code>"
    "<Message>later</Message><Region>x</Region></Error>",
    "\0\nRetry-After: Sat, 28 Nov 2026 00:36:59 GMT\n\n",
    '\1{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"B","Token":"C",'
    '"Expiration":"2026-11-28T00:36:59Z"}',
    "\2<R><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>B"
    "</SecretAccessKey><SessionToken>C</SessionToken><Expiration>2026-11-28T00:36:59Z"
    "</Expiration></Credentials></AssumeRoleResult></R>",
    "\3default\n[default]\naws_access_key_id = A # x\n[profile a]\ns3 =\n  b = c\n",
    "\4https://[::1]:9000/a/b",
    "\5Sat, 28 Nov 2026 00:36:59 GMT",
)


def s3_answers(golden):
    for text in S3_ANSWERS:
        yield text.encode()


def xml(golden):
    yield b'<?xml version="1.0"?><a:A xmlns:a="b"><B c="d">&amp;&#13;</B><![CDATA[<]]></a:A>'


SEEDS = {
    "s3_answer_fuzz": s3_answers,
    "xml_fuzz": xml,
    "abs_answer_fuzz": abs_answers,
    "wal_fuzz": wal,
    "names_fuzz": names,
    "ltx_decoder_fuzz": ltx,
    "ltx_random_access_fuzz": ltx,
    "ltx_roundtrip_fuzz": roundtrip,
    "merge_fuzz": merge,
    "config_fuzz": config,
    "url_fuzz": urls,
}


def main():
    golden, corpus = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    if not (golden / "manifest.json").is_file():
        sys.exit(f"no golden data in {golden}; set LITESTREAM_GOLDEN to its directory")
    for target in sys.argv[3:]:
        folder = corpus / target
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for seed in SEEDS.get(target, lambda golden: [])(golden):
            (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
            count += 1
        if count == 0:
            print(f"{target}: no seeds, it starts from nothing", file=sys.stderr)


if __name__ == "__main__":
    main()
