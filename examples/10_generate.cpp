// Generation: three prompts answered at once, each with draws of its own, and a text that is heard while it grows.
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <vector>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/generate/local.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/text/tokenizer.hpp>

using namespace lodestone;

int main(int, char** arguments) {
  const std::filesystem::path folder = std::filesystem::path(arguments[1]) / "models" / "tinystories-656k";
  const tokenizer words = tokenizer::load(folder);
  auto weights = parameters::load<host<float>>(folder, {}, {.use = parameters::purpose::inference});
  llama<host<float>, blocked_attention> model(weights.config(), weights);

  generate::model_text text;
  text.words = &words;
  text.prefix = words.prefix();
  text.end_tokens = weights.config().eos_tokens;
  generate::local teller(model, text, {.name = "TinyStories-656K", .serving = {.sequences = 8}});

  std::vector<generate::request> requests(3);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt = "Once upon a time, a small bird";
    requests[i].max_new_tokens = 60;
    requests[i].draw = {.temperature = 0.8, .top_p = 0.95, .seed = i};
    requests[i].stop = {"."};
  }
  teller.generate(requests, [&](std::size_t i, generate::answer&& heard) {
    std::printf("%zu (%s): %s\n", i, to_string(heard.why), heard.text.c_str());
  });

  requests[0].draw = {};  // the most likely tokens, as they come
  teller.generate({requests.data(), 1}, [](std::size_t, generate::answer&&) { std::puts(""); },
                  [](std::size_t, std::string_view piece) {
                    std::printf("%.*s|", static_cast<int>(piece.size()), piece.data());
                  });
  return 0;
}
