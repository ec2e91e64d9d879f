#include "generator_parts.hpp"

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>

#include <lodestone/generate/endpoint.hpp>
#include <lodestone/generate/local.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/train/recorders/format.hpp>

#include "arithmetic.hpp"
#include "commands.hpp"
#include "data_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

template <class Arithmetic>
void with_local_model(const settings& s, const std::function<void(lodestone::generate::any_generator&)>& use) {
  namespace generate = lodestone::generate;
  using model = lodestone::llama<typename Arithmetic::backend, typename Arithmetic::attention>;
  const lodestone::model_config config = read_config(s);
  const text_parts text(s, false);
  auto weights = load_weights<Arithmetic>(s, config);
  model llama(config, weights);
  generate::model_text words = generate::text_of(text.encoder(), config.eos_tokens);
  words.conversation = [&text, inner = std::move(words.conversation)](auto messages) {
    text.require_template();
    return inner(messages);
  };
  generate::local_options options;
  options.name = std::filesystem::path(s.model).lexically_normal().filename().string();
  options.serving.sequences = s.at_once;
  options.serving.cache_tokens = s.cache_tokens;
  options.warns = [](std::string_view what) { note("warning: " + std::string(what)); };
  generate::local<model> local(llama, std::move(words), std::move(options));
  generate::any_generator any(local);
  use(any);
}

void with_endpoint(const settings& s, const std::function<void(lodestone::generate::any_generator&)>& use) {
  namespace generate = lodestone::generate;
  generate::endpoint_options options;
  options.url = s.endpoint;
  options.model = s.endpoint_model;
  options.key_variable = s.endpoint_key_variable;
  options.concurrency = s.endpoint_concurrency;
  options.retries = s.endpoint_retries;
  options.timeout = std::chrono::seconds(s.endpoint_timeout);
  options.seed = static_cast<std::uint64_t>(s.seed);
  options.note = [](std::string_view what) { note(what); };
  generate::endpoint model(std::move(options));
  generate::any_generator any(model);
  use(any);
  const generate::endpoint_usage usage = model.usage();
  const auto count = [](std::int64_t value) { return lodestone::format_count(value); };
  note(s.endpoint_model + ": " + count(usage.attempts) + (usage.attempts == 1 ? " request, " : " requests, ") +
       count(usage.retries) + " of them retries; " +
       count(usage.prompt_tokens) + " tokens of prompts, " + count(usage.answer_tokens) + " of answers");
}

}  // namespace

void with_generator(const settings& s, const std::function<void(lodestone::generate::any_generator&)>& use) {
  if (!s.endpoint.empty()) return with_endpoint(s, use);
  with_arithmetic(s, [&](auto arithmetic) { with_local_model<decltype(arithmetic)>(s, use); });
}

settings judge_settings(const settings& s) {
  settings judge = s;
  judge.model = s.judge_endpoint.empty() ? s.judge_model : "";
  judge.adapter.clear();
  judge.endpoint = s.judge_endpoint;
  judge.endpoint_model = s.judge_endpoint_model;
  judge.endpoint_key_variable = s.judge_endpoint_key_variable;
  return judge;
}

lodestone::generate::request make_request(const settings& s) {
  lodestone::generate::request asked;
  asked.max_new_tokens = s.max_new_tokens;
  asked.min_new_tokens = s.min_new_tokens;
  asked.draw = {s.repetition_penalty, s.temperature, s.top_k, s.top_p, s.min_p, static_cast<std::uint64_t>(s.seed)};
  asked.stop = s.stop;
  return asked;
}

}  // namespace lodestone_cli
