// Arbitrary bytes as a tokenizer file: it is refused with an error of the library, or it encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/sentencepiece_model.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/text/tokenizer_json.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace {

lodestone::tokenizer read(std::string_view file) {
  namespace text = lodestone::text;
  if (!file.empty() && file.front() == '{') return lodestone::tokenizer(text::read_tokenizer_json(file, "fuzz.json"));
  return lodestone::tokenizer(
      text::build_sentencepiece(text::sentencepiece_model::parse(file, "fuzz.model"), "fuzz.model"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    const lodestone::tokenizer tokens = read(file);
    const std::string ending(file.substr(size - size / 4 % 100));
    for (const std::string& text :
         {std::string(), ending, "Hello  wo\xE4\xBD\xA0rld 123's\n\t \xFF\xF0\x9F <s>" + ending,
          std::string(300, 'a')}) {
      const std::vector<std::int32_t> ids = tokens.encode(text, size % 2 == 0, size % 3 == 0);
      for (const std::int32_t id : ids)
        if (id < 0 || id >= tokens.vocabulary_size() || tokens.token_of(id).empty()) std::abort();
      if (ids != tokens.encode(text, size % 2 == 0, size % 3 == 0)) std::abort();  // the cache changes nothing
      (void)tokens.decode(ids, size % 5 == 0);
    }
  } catch (const lodestone::error&) {
  }
  return 0;
}
