// Definitions of normalizer.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include <utf8proc.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/normalizer.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

LODESTONE_INLINE std::string prepend_text::operator()(std::string_view text) const {
  std::string result;
  if (text.empty()) return result;
  result.reserve(prefix.size() + text.size());
  return result.append(prefix).append(text);
}

LODESTONE_INLINE std::string replace_string::operator()(std::string_view text) const {
  std::string result;
  if (pattern.empty()) return std::string(text);
  result.reserve(text.size() + text.size() / 4);
  for (std::size_t from = 0;;) {
    const std::size_t at = text.find(pattern, from);
    if (at == std::string_view::npos) return result.append(text.substr(from));
    result.append(text.substr(from, at - from)).append(content);
    from = at + pattern.size();
  }
}

LODESTONE_INLINE std::string replace_pattern::operator()(std::string_view text) const {
  std::string result;
  std::size_t done = 0;
  regex::match found;
  for (std::size_t from = 0; from <= text.size() && pattern.find(text, from, found);) {
    result.append(text.substr(done, found.begin - done)).append(content);
    done = found.end;
    from = found.end;
    if (found.begin == found.end) {
      if (from == text.size()) break;
      from += decode_utf8(text.data() + from, text.data() + text.size()).length;
    }
  }
  return result.append(text.substr(done));
}

LODESTONE_INLINE std::string unicode_form::operator()(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  const char* end = text.data() + text.size();
  const char* begin = text.data();  // of the well-formed run that is not yet written
  bool is_plain = true;             // no character of the run can change
  for (const char* p = begin; p != end;) {
    const code_point at = decode_utf8(p, end);
    if (at.value == not_utf8) {
      write_run({begin, static_cast<std::size_t>(p - begin)}, is_plain, result);
      result.push_back(*p);
      begin = p + 1;
      is_plain = true;
    } else if (!never_changes(at.value)) {
      is_plain = false;
    }
    p += at.length;
  }
  write_run({begin, static_cast<std::size_t>(end - begin)}, is_plain, result);
  return result;
}

LODESTONE_INLINE bool unicode_form::never_changes(char32_t c) const {
  if (c < 0x80) return true;
  if (form != kind::nfc) return false;
  return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x2027) || (c >= 0x2030 && c <= 0x205E) ||
         (c >= 0x3001 && c <= 0x3029) || (c >= 0x3030 && c <= 0x3098) || (c >= 0x309B && c <= 0x30FF) ||
         (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFFDC) ||
         (c >= 0x1F300 && c <= 0x1FAFF);
}

LODESTONE_INLINE void unicode_form::write_run(std::string_view run, bool is_plain, std::string& result) const {
  if (is_plain) {
    result.append(run);
    return;
  }
  int options = UTF8PROC_STABLE;
  options |= form == kind::nfc || form == kind::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == kind::nfkc || form == kind::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(run.data()), static_cast<utf8proc_ssize_t>(run.size()),
                   &mapped, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(mapped, [](void* p) { std::free(p); });
  if (length < 0) throw error(std::string("Unicode normalization failed: ") + utf8proc_errmsg(length));
  result.append(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length));
}

LODESTONE_INLINE std::string lowercase::operator()(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const code_point at = decode_utf8(p, end);
    if (at.value == not_utf8) {
      result.push_back(*p);
    } else if (at.value == 0x130) {
      result.append("i\xCC\x87");  // the one lower case of two characters: i, U+0307
    } else {
      append_utf8(result, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(at.value))));
    }
    p += at.length;
  }
  return result;
}

LODESTONE_INLINE std::string strip_space::operator()(std::string_view text) const {
  const character::table& classes = character::table::get();
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto is_space = [&classes](code_point at) { return (classes[at.value] & character::space) != 0; };
  while (left && begin != end && is_space(decode_utf8(begin, end))) begin += decode_utf8(begin, end).length;
  while (right && begin != end && is_space(decode_utf8_before(begin, end)))
    end -= decode_utf8_before(begin, end).length;
  return {begin, static_cast<std::size_t>(end - begin)};
}

LODESTONE_INLINE std::string strip_accents::operator()(std::string_view text) const {
  const character::table& classes = character::table::get();
  std::string result;
  result.reserve(text.size());
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const code_point at = decode_utf8(p, end);
    if ((classes[at.value] & character::mark) == 0) result.append(p, at.length);
    p += at.length;
  }
  return result;
}

LODESTONE_INLINE void normalizer::add(step next) { steps_.push_back(std::move(next)); }

LODESTONE_INLINE std::string_view normalizer::apply(std::string_view text, std::string& storage) const {
  const std::size_t limit = 65'536 + most_growth * text.size();
  for (const step& one : steps_) {
    std::string next = std::visit([text](const auto& rewrite) { return rewrite(text); }, one);
    if (next.size() > limit)
      throw format_error("the normalizer makes " + std::to_string(next.size()) + " bytes of a shorter text",
                         "tokenizer file", "use the published file");
    storage = std::move(next);
    text = storage;
  }
  return text;
}

LODESTONE_INLINE bool normalizer::empty() const { return steps_.empty(); }

}  // namespace lodestone::text
