// Arbitrary template sources: they write something or an error says why not, within the bounds, and what is marked as
// data is data.
//
// The input is the template; a byte 0xFF (which UTF-8 never holds) ends it, and what follows is the content of the
// messages.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/jinja_interpreter.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lodestone::jinja;
  std::string source(data, data + size);
  std::string content = "dAta 1";
  if (const std::size_t cut = source.find('\xFF'); cut != std::string::npos) {
    content = source.substr(cut + 1);
    source.resize(cut);
  }
  const auto message = [&](const char* role, std::int32_t index) {
    return value::dict({{"role", role}, {"content", value::data(content, index)}});
  };
  const std::vector<std::pair<std::string, value>> values{
      {"messages", value::list({message("user", 0), message("assistant", 1)})},
      {"add_generation_prompt", true},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"x", value::list({std::int64_t{1}, 2.5, "three", value::none()})}};
  environment around;
  around.steps = 20'000;
  try {
    const program parsed = parse(source, "fuzz");
    const rendering once = run(parsed, values, around);
    std::size_t at = 0;
    for (const mark& one : once.output.marks()) {
      if (one.begin < at || one.end <= one.begin || one.end > once.output.size()) std::abort();
      if (one.source != 0 && one.source != 1) std::abort();
      at = one.end;
    }
    for (const range& one : once.generated)
      if (one.end < one.begin || one.end > once.output.size()) std::abort();
    const bool is_dated = source.find("strftime_now") != std::string::npos;
    if (!is_dated && run(parsed, values, around).output.bytes() != once.output.bytes()) std::abort();
  } catch (const template_error&) {
  } catch (const template_refusal&) {
  }
  return 0;
}
