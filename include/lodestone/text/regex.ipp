// Definitions of regex.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstdint>

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8  // pcre2.h gives no generic names without it
#endif
#include <pcre2.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/regex.hpp>

namespace lodestone::text {

LODESTONE_INLINE regex::regex(std::string_view pattern, std::string_view where) {
  const std::string translated = translate(pattern);
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C,
                                       &code, &offset, nullptr);
  if (compiled == nullptr)
    throw format_error("the pattern " + std::string(pattern) + " does not compile: " + message(code), where,
                       "see the PCRE2 pattern syntax");
  code_ = std::shared_ptr<void>(compiled, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);  // without a JIT the interpreter gives the same matches
}

/// What a thread needs to match: two offsets, and a stack that grows to 16 MiB for patterns that backtrack.
struct regex::scratch {
  /// Gives PCRE2 its objects back.
  struct free {
    void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
    void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
    void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
  };
  std::unique_ptr<pcre2_jit_stack, free> stack{pcre2_jit_stack_create(32 * 1024, 16 * 1024 * 1024, nullptr)};
  std::unique_ptr<pcre2_match_data, free> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, free> context{pcre2_match_context_create(nullptr)};
  scratch() { pcre2_jit_stack_assign(context.get(), nullptr, stack.get()); }
};

LODESTONE_INLINE bool regex::find(std::string_view text, std::size_t from, match& found) const {
  thread_local scratch local;
  const int code = pcre2_match(static_cast<const pcre2_code*>(code_.get()), reinterpret_cast<PCRE2_SPTR>(text.data()),
                               text.size(), from, 0, local.data.get(), local.context.get());
  if (code == PCRE2_ERROR_NOMATCH) return false;
  if (code < 0) throw error("a tokenizer pattern cannot be matched: " + message(code), {}, "split the text");
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(local.data.get());
  found = {range[0], range[1]};
  return true;
}

LODESTONE_INLINE std::string regex::message(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

LODESTONE_INLINE std::string regex::translate(std::string_view pattern) {
    constexpr std::string_view spaces = R"(\t-\r \x{85}\p{Z})";
    std::string result;
    int depth = 0;  // of character classes
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      const char c = pattern[i];
      if (c == '\\' && i + 1 < pattern.size()) {
        const char escaped = pattern[++i];
        if (escaped == 's') {
          depth > 0 ? result.append(spaces) : result.append("[").append(spaces).append("]");
        } else if (escaped == 'S' && depth == 0) {
          result.append("[^").append(spaces).append("]");
        } else {
          result.push_back('\\');
          result.push_back(escaped);
        }
        continue;
      }
      if (depth > 0 && pattern.substr(i).starts_with("[:")) {  // [:alpha:] inside a class
        if (const std::size_t end = pattern.find(":]", i + 2); end != std::string_view::npos) {
          result.append(pattern.substr(i, end + 2 - i));
          i = end + 1;
          continue;
        }
      }
      if (depth == 0 && c == '[') {
        depth = 1;
        result.push_back(c);
        // A ] in the first place of a class is a member of it.
        if (i + 1 < pattern.size() && pattern[i + 1] == '^') result.push_back(pattern[++i]);
        if (i + 1 < pattern.size() && pattern[i + 1] == ']') result.push_back(pattern[++i]);
        continue;
      }
      if (depth == 1 && c == ']') depth = 0;
      result.push_back(c);
    }
    return result;
  }

}  // namespace lodestone::text

