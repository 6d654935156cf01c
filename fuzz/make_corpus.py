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


OSS_ANSWERS = (
    "\0\nx-oss-err: PEVycm9yPjxDb2RlPng8L0NvZGU+PC9FcnJvcj4=\nx-oss-ec: 0002-00000007\n\n",
    "\0\n\n<Error><Code>AccessDenied</Code><Message>m</Message><EC>0002-00000228</EC><Endpoint>"
    "oss-cn-hangzhou.aliyuncs.com</Endpoint></Error>",
    "\1\nx-oss-hash-crc64ecma: 1\ncontent-length: 2\ncontent-range: bytes 0-1/2\n\n",
    '\2{"Credentials":{"AccessKeyId":"A","AccessKeySecret":"B","SecurityToken":"C",'
    '"Expiration":"2026-11-28T00:36:59Z"}}',
    "\3db%2F0000%2Fa+b%",
    "\4oss-cn-hangzhou-internal.aliyuncs.com",
)


def oss_answers(golden):
    for text in OSS_ANSWERS:
        yield text.encode()


NATS_ANSWERS = (
    '\0{"name":"ltx/0/a.ltx","bucket":"b","nuid":"V9QdNJeRaTVTJqKy5ahvFd","size":131073,"chunks":2,'
    '"digest":"SHA-256=x","headers":{"Litestream-Chunks":["131072 0:17+2"],'
    '"Litestream-Timestamp":["2026-01-02T03:04:05.67Z"]},"options":{"max_chunk_size":131072}}',
    '\0{"name":"n","nuid":"u","size":30,"chunks":3,'
    '"headers":{"Litestream-Chunks":["10 0:5+1 2:9+1"]}}',
    '\0{"name":"n","deleted":true}',
    '\1{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"},"seq":0}',
    '\1{"stream":"OBJ_b","seq":2,"duplicate":true}',
    '\1{"message":{"subject":"$O.b.M.x","seq":5,"data":"eyJhIjoyfQ==",'
    '"time":"2026-01-02T03:04:05Z"}}',
    '\1{"total":7,"config":{"allow_direct":true},"state":{"subjects":{"$O.b.M.x":1}}}',
    "\2bHR4LzAvYT8-",
    "\2SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
)


def nats_answers(golden):
    for text in NATS_ANSWERS:
        yield text.encode()


# As gs_answer_fuzz.cc takes them: answer, list, object, tokens, headers, content, JSON, key.
GS_ANSWERS = (
    '0\x05{"error":{"code":404,"message":"No such object","errors":[{"reason":"notFound"}]}}',
    '0\x02{"error":"invalid_grant","error_description":"in a reasonable timeframe"}',
    '1{"nextPageToken":"n","items":[{"name":"a","size":"1","timeCreated":"2026-01-02T03:04:05Z",'
    '"metadata":{"litestream-timestamp":"2026-01-02T03:04:05.6Z"}}]}',
    '2{"name":"a","size":"18446744073709551615","generation":"1","crc32c":"4waSgw=="}',
    '3{"access_token":"ya29","expires_in":3599,"token_type":"Bearer"}',
    '3{"accessToken":"ya29","expireTime":"2026-01-02T03:04:05Z"}',
    '4X-Goog-Hash: md5=x, crc32c=4waSgw==\nContent-Range: bytes 0-8/9\nRange: bytes=0-262143\n',
    '5litestream-00000000-end litestream-00000001-end',
    '6{"a":[1,-2.50,true,null,"\\u00e9"]}',
    '7-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----\n',
)


def gs_answers(golden):
    for text in GS_ANSWERS:
        yield text.encode()


WEBDAV_ANSWERS = (
    '\0<?xml version="1.0"?><!-- c --><D:a xmlns:D="DAV:" b=\'>\'><![CDATA[<]]>&amp;&#x20AC;</D:a>',
    '\1<D:multistatus xmlns:D="DAV:"><D:response><D:href>/d/a%20b</D:href><D:propstat><D:prop>'
    "<D:resourcetype><D:collection/></D:resourcetype><D:getcontentlength>6</D:getcontentlength>"
    "<D:getlastmodified>Sat, 28 Nov 2026 09:50:59 GMT</D:getlastmodified></D:prop>"
    "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response><D:response>"
    "<D:href>http://h/d/</D:href><D:status>HTTP/1.1 404 x</D:status></D:response></D:multistatus>",
    '\2Negotiate, Basic realm="a, \\"b", Digest realm="x", nonce="n", qop="auth,auth-int", '
    "algorithm=SHA-256-sess, opaque=o, stale=true, userhash=true",
    "\3<d:error xmlns:d='DAV:' xmlns:s='s'><s:message>no</s:message></d:error>",
    "\3https://me:pw@h/x?y#z",
)


def webdav_answers(golden):
    for text in WEBDAV_ANSWERS:
        yield text.encode()
        yield text.encode()


def sftp_answers(golden):
    """What sftp_answer_fuzz.cc describes."""
    def text(value):
        return len(value).to_bytes(4, "big") + value

    def number(value):
        return value.to_bytes(4, "big")

    attributes = number(0xd) + (5).to_bytes(8, "big") + number(0o100644) + number(1) + number(2)
    tag = b"0123456789abcdef" * 2
    names = [b"0000000000000001-0000000000000002.ltx", b"at-" + tag, b"none-" + tag, tag,
             b"0000000000000001-0000000000000002.ltx.0-1.tmp"]
    status = number(4) + text(b"No space left on device") + text(b"en")
    listing = number(len(names)) + b"".join(text(n) + text(b"-rw " + n) + attributes for n in names)
    yield b"\0" + status
    yield b"\1" + text(b"handle")
    yield b"\2" + text(b"data" * 20)
    yield b"\3" + listing
    yield b"\3" + number(1) + text(b"at-" + tag) + text(b"") + number(0)
    yield b"\4" + attributes
    yield b"\5" + b"".join(n.to_bytes(8, "big") for n in (4096, 4096, 100, 50, 40))
    packets = [bytes([kind]) + number(at) + body for at, (kind, body) in enumerate(
        ((101, status), (102, text(b"handle")), (103, text(b"abc")), (104, listing)))]
    yield b"\6" + b"".join(text(packet) for packet in packets)
    yield b"\7\2" + number(3) + text(b"posix-rename@openssh.com") + text(b"1")
    yield b"\x08[::1]:2222"


def xml(golden):
    yield b'<?xml version="1.0"?><a:A xmlns:a="b"><B c="d">&amp;&#13;</B><![CDATA[<]]></a:A>'


SEEDS = {
    "nats_answer_fuzz": nats_answers,
    "s3_answer_fuzz": s3_answers,
    "oss_answer_fuzz": oss_answers,
    "gs_answer_fuzz": gs_answers,
    "webdav_answer_fuzz": webdav_answers,
    "sftp_answer_fuzz": sftp_answers,
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
