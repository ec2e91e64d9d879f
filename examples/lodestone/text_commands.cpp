// tokenize: text to ids and back, every byte kept.
#include <charconv>
#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "commands.hpp"

namespace lodestone_cli {
namespace {

/// The ids of a JSON array of whole numbers; white space is free. A parser of its own: an id array of a book is large,
/// and the message should name the place.
std::vector<std::int32_t> parse_ids(std::string_view text, const std::string& where) {
  std::vector<std::int32_t> ids;
  std::size_t at = 0;
  std::int64_t line = 1;
  const auto fail = [&](const char* what) {
    throw lodestone::data_error(what, where + ":" + std::to_string(line), "give a JSON array of token ids: [1, 2, 3]");
  };
  const auto skip = [&] {
    for (; at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r'); ++at)
      if (text[at] == '\n') ++line;
  };
  skip();
  if (at == text.size() || text[at] != '[') fail("does not begin with [");
  ++at;
  skip();
  if (at < text.size() && text[at] == ']') {
    ++at;
  } else {
    for (;;) {
      skip();
      std::int32_t id = 0;
      const auto end = std::from_chars(text.data() + at, text.data() + text.size(), id);
      if (end.ec != std::errc{}) fail("a token id is not a whole number of 32 bits");
      ids.push_back(id);
      at = static_cast<std::size_t>(end.ptr - text.data());
      skip();
      if (at < text.size() && text[at] == ',') {
        ++at;
        continue;
      }
      if (at == text.size() || text[at] != ']') fail("neither , nor ] follows a token id");
      ++at;
      break;
    }
  }
  skip();
  if (at != text.size()) fail("text follows the closing ]");
  return ids;
}

}  // namespace

int run_tokenize(const settings& s) {
  const lodestone::tokenizer tokenizer = lodestone::tokenizer::load(s.model);
  const std::string file = s.text_file == "-" ? "/dev/stdin" : s.text_file;
  const std::string text = lodestone::read_text(file);
  if (s.decode) {
    print(tokenizer.decode(parse_ids(text, s.text_file), !s.special));
    return success;
  }
  std::string out = "[";
  for (const std::int32_t id : tokenizer.encode(text, s.special)) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(id);
  }
  print(out + "]\n");
  return success;
}

}  // namespace lodestone_cli
