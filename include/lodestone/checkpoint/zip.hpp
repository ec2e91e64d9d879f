// The part of the zip container that torch.save uses: entries stored without compression, with zip64 sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include <lodestone/core/error.hpp>

namespace lodestone::zip {

/// The entries of a zip file by name; the spans point into `bytes`. `where` names the file in messages.
///
/// Throws format_error for anything but a sound container of stored (uncompressed, unencrypted) entries with distinct
/// names. Checksums of entries are not read: that would touch every byte of the weights.
[[nodiscard]] std::map<std::string, std::span<const std::byte>, std::less<>> read_entries(
    std::span<const std::byte> bytes, const std::string& where);

}  // namespace lodestone::zip

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/zip.ipp>
#endif
