// Definitions of jsonl.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone {

LODESTONE_INLINE std::size_t find_broken_utf8(std::string_view text) {
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  const std::size_t n = text.size();
  std::size_t i = 0;
  while (i < n) {
    std::uint64_t eight = 0;  // ASCII runs are skipped eight bytes at a time
    if (i + 8 <= n && (std::memcpy(&eight, s + i, 8), (eight & 0x8080'8080'8080'8080U) == 0)) {
      i += 8;
      continue;
    }
    const unsigned lead = s[i];
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t length = 0;
    unsigned low = 0x80;  // the second byte has a narrower range after E0, ED, F0 and F4
    unsigned high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      length = 3;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      length = 4;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return i;
    }
    if (i + length > n || s[i + 1] < low || s[i + 1] > high) return i;
    for (std::size_t k = 2; k < length; ++k) {
      if ((s[i + k] & 0xC0U) != 0x80U) return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

LODESTONE_INLINE std::string source_line(std::string_view file, std::int64_t line) {
  return std::string(file) + ":" + std::to_string(line);
}

LODESTONE_INLINE void require_utf8(const json_record& record, std::string_view file) {
  const std::size_t broken = find_broken_utf8(record.text);
  if (broken == std::string_view::npos) return;
  const auto begin = record.text.begin();
  const auto lines = std::count(begin, begin + static_cast<std::ptrdiff_t>(broken), '\n');
  throw data_error("broken UTF-8 at byte " + std::to_string(broken) + " of the record",
                   source_line(file, record.line + lines), "convert the file with iconv -f <its encoding> -t UTF-8");
}

LODESTONE_INLINE jsonl_reader::jsonl_reader(const std::filesystem::path& file, std::int64_t record_limit,
                                            bool check_utf8)
    : name_(file.string()), limit_(static_cast<std::size_t>(record_limit)), is_checked_(check_utf8) {
  if (std::filesystem::is_directory(file)) throw io_error("is a folder, not a file", name_, "name the file in it");
  if (file.extension() == ".parquet") refuse_parquet();
  stream_.reset(std::fopen(name_.c_str(), "rb"));
  if (!stream_) throw io_error("cannot be opened for reading", name_, "check the path and its permissions");
  buffer_.resize(std::size_t{1} << 20);
  refill();
  refuse_other_formats();
  if (window().substr(0, 3) == "\xEF\xBB\xBF") begin_ += 3;
  skip_blanks();
  if (begin_ < end_ && buffer_[begin_] == '[') {
    is_array_ = true;
    ++begin_;
  }
}

LODESTONE_INLINE bool jsonl_reader::next(json_record& record) {
  record.text.clear();
  const bool found = is_array_ ? next_element(record) : next_line(record);
  if (!found) return false;
  record.index = count_++;
  if (is_checked_) require_utf8(record, name_);
  return true;
}

LODESTONE_INLINE bool jsonl_reader::refill() {
  begin_ = 0;
  end_ = std::fread(buffer_.data(), 1, buffer_.size(), stream_.get());
  if (end_ == 0 && std::ferror(stream_.get()) != 0) throw io_error("reading failed", name_, "check the disk");
  return end_ != 0;
}

LODESTONE_INLINE void jsonl_reader::skip_blanks() {
  while (available()) {
    const char c = buffer_[begin_];
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return;
    if (c == '\n') ++line_;
    ++begin_;
  }
}

LODESTONE_INLINE void jsonl_reader::append(json_record& record, std::size_t count) {
  if (record.text.size() + count > limit_) {
    throw data_error("the record is longer than " + std::to_string(limit_) + " bytes", where(record.line),
                     "is every record on a line of its own?");
  }
  record.text.append(buffer_.data() + begin_, count);
  begin_ += count;
}

LODESTONE_INLINE bool jsonl_reader::next_line(json_record& record) {
  skip_blanks();
  if (begin_ == end_) return false;
  record.line = line_;
  while (available()) {
    const void* found = std::memchr(buffer_.data() + begin_, '\n', end_ - begin_);
    if (found == nullptr) {
      append(record, end_ - begin_);
      continue;
    }
    append(record, static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data()) - begin_);
    ++begin_;
    ++line_;
    break;
  }
  const std::size_t last = record.text.find_last_not_of(" \t\r");
  record.text.resize(last + 1);  // never empty: skip_blanks stopped at a visible byte
  return true;
}

LODESTONE_INLINE bool jsonl_reader::next_element(json_record& record) {
  if (is_closed_) return false;
  skip_blanks();
  if (begin_ < end_ && count_ > 0 && buffer_[begin_] == ',') {
    ++begin_;
    skip_blanks();
    if (begin_ < end_ && buffer_[begin_] == ']') {
      throw data_error("a comma stands before the closing ]", where(line_), "remove it");
    }
  } else if (begin_ < end_ && count_ > 0 && buffer_[begin_] != ']') {
    throw data_error("a comma is missing between two records of the array", where(line_), "is the file damaged?");
  }
  if (begin_ == end_) unclosed();
  if (buffer_[begin_] == ']') {
    ++begin_;
    is_closed_ = true;
    skip_blanks();
    if (begin_ != end_) {
      throw data_error("text follows the closing ] of the array", where(line_),
                       "a file holds one array, or one record a line");
    }
    return false;
  }
  record.line = line_;
  std::int64_t depth = 0;
  bool is_string = false;
  bool is_escaped = false;
  while (available()) {
    std::size_t i = begin_;
    bool is_done = false;
    for (; i < end_ && !is_done; ++i) {
      const char c = buffer_[i];
      if (c == '\n') ++line_;
      if (is_string) {
        if (is_escaped) {
          is_escaped = false;
        } else if (c == '\\') {
          is_escaped = true;
        } else if (c == '"') {
          is_string = false;
        }
      } else if (c == '"') {
        is_string = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (depth == 0) break;  // the array's own bracket ends a scalar
        is_done = --depth == 0;
      } else if (c == ',' && depth == 0) {
        break;
      }
    }
    const bool is_at_end = is_done || i < end_;
    append(record, i - begin_);
    if (!is_at_end) continue;
    if (record.text.empty()) throw data_error("a record of the array is empty", where(line_), "is the file damaged?");
    return true;
  }
  unclosed();
}

LODESTONE_INLINE void jsonl_reader::unclosed() const {
  throw data_error("the file ends inside the JSON array", where(line_), "the file is cut short: copy it again");
}

LODESTONE_INLINE void jsonl_reader::refuse_parquet() const {
  throw format_error(
      "Parquet is not read", name_,
      "convert it with: python3 -c \"import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], "
      "orient='records', lines=True, force_ascii=False)\" " +
          name_ + " " + std::filesystem::path(name_).replace_extension(".jsonl").string());
}

LODESTONE_INLINE void jsonl_reader::refuse_other_formats() const {
  const std::string_view head = window();
  const auto begins = [&](std::string_view magic) { return head.substr(0, magic.size()) == magic; };
  if (begins("PAR1")) refuse_parquet();
  if (begins("\x1F\x8B")) throw format_error("the file is compressed with gzip", name_, "run: gunzip -k " + name_);
  if (begins("\x28\xB5\x2F\xFD")) {
    throw format_error("the file is compressed with zstd", name_, "run: zstd -d " + name_);
  }
  if (begins(std::string_view("\xFD\x37zXZ\0", 6))) {
    throw format_error("the file is compressed with xz", name_, "run: xz -dk " + name_);
  }
  if (begins("PK\x03\x04")) throw format_error("the file is a zip archive", name_, "run: unzip " + name_);
  if (begins("\xFF\xFE") || begins("\xFE\xFF")) {
    throw format_error("the file is UTF-16", name_, "run: iconv -f UTF-16 -t UTF-8 " + name_);
  }
  if (begins("version https://git-lfs")) {
    throw format_error("the file is a Git LFS pointer, not the data", name_, "run: git lfs pull in its folder");
  }
}

}  // namespace lodestone

