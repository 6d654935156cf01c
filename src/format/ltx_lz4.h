#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "litestream/result.h"

namespace litestream {

// Expands an LZ4 block into exactly `page`; false if the block is not one page.
//
// Source: lz4_Block_format.md of LZ4. A block is a row of sequences: a token (two lengths of four
// bits; 15 goes on in the bytes that follow, up to one that is not 255), literals, the distance of
// a match (u16, little-endian), and the match, which is 4 bytes longer than its length says. The
// last sequence ends behind its literals.
//
// Why not LZ4_decompress_safe: it lets through what the reference rejects, a distance of 0 and a
// last sequence that announces a match (docs/decisions/0005-own-lz4-block-decoder.md).
bool ExpandLz4Block(std::span<const std::byte> block, std::span<std::byte> page);

// Expands the LZ4 frame at the front of `bytes` into exactly `page`. Returns the frame's size; what
// follows is not looked at. kCorruption says what is wrong.
//
// Source: lz4_Frame_format.md of LZ4. A page takes one block, so a frame of more is rejected, and
// so is one that needs a dictionary. Integers are little-endian, checksums xxHash32.
//
//   offset size
//        0    4  0x184d2204
//        4    1  flags: 01 in the two highest bits; 0x10 block checksum, 0x08 content size, 0x04
//                content checksum, 0x02 reserved, 0x01 dictionary; 0x64 in files of Litestream
//        5    1  largest block, 4 to 7 in bits 4 to 6
//        6    8  size of the content, if the flag is set
//        .    1  second byte of the checksum of flags to here
//        .    4  size of the block; bit 31: it is stored as it is
//        .    .  the block; a checksum of it, if the flag is set
//        .    4  zero, the end mark
//        .    4  checksum of the content, if the flag is set
Result<std::size_t> ExpandLz4Frame(std::span<const std::byte> bytes, std::span<std::byte> page);

// xxHash32 with seed 0.
std::uint32_t Xxh32(std::span<const std::byte> bytes);

}  // namespace litestream
