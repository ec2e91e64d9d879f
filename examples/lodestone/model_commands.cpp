// score, generate and merge: a model that is only read.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/groups.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/generate/greedy.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/step.hpp>

#include "arithmetic.hpp"
#include "commands.hpp"
#include "data_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

template <class Arithmetic>
using model = lodestone::llama<typename Arithmetic::backend, typename Arithmetic::attention>;

/// One line for each preference group: what the loss makes of it, and log-probabilities of its answers, chosen first.
template <class Model>
void score_groups(Model& llama, const any_store& examples, const settings& s) {
  const auto json = [](double value) { return std::isfinite(value) ? lodestone::format_exact(value) : "null"; };
  const auto list = [](std::string& text, const std::string& value) { text += (text.empty() ? "" : ", ") + value; };
  require_groups(examples, "data", s);
  const any_loss loss = make_preference_loss(s);
  const std::vector<lodestone::example_shape> shapes = lodestone::batching::shapes(examples);
  bool has_windows = false;
  for (std::int64_t layer = 0; layer < llama.config().layers; ++layer)
    has_windows = has_windows || llama.config().window(layer) > 0;
  const auto arranged =
      has_windows ? lodestone::arrangement::one_by_one : lodestone::arrangement::shared_prompt;
  std::vector<lodestone::preference_outcome> all;
  for (const lodestone::batching::answer_group& group : lodestone::batching::group_answers(shapes)) {
    const lodestone::token_batch batch = lodestone::batching::assemble(
        examples, {group.examples, arranged}, lodestone::position::contiguous{}, 0, 0, 0);
    const std::vector<double> log_probs = lodestone::train::log_probs(llama, batch, arranged);
    const std::vector<lodestone::preference_outcome> own = loss.outcomes(batch.sequences, batch.scored, log_probs);
    if (own.empty()) continue;  // its chosen answer has weight 0
    std::string sums, counts;
    for (const lodestone::sequence& answer : batch.sequences) {
      double sum = 0.0;
      for (std::int64_t k = answer.scored_begin; k < answer.scored_end; ++k)
        sum += batch.scored[static_cast<std::size_t>(k)].weight * log_probs[static_cast<std::size_t>(k)];
      list(sums, json(sum));
      list(counts, std::to_string(answer.scored_end - answer.scored_begin));
    }
    print("{\"reward_chosen\": " + json(own[0].chosen_reward) + ", \"reward_rejected\": " +
          json(own[0].rejected_reward) + ", \"margin\": " + json(own[0].margin()) + ", \"right\": " +
          (own[0].is_right() ? "true" : "false") + ", \"log_probs\": [" + sums + "], \"targets\": [" + counts +
          "], \"tokens\": " + std::to_string(batch.size()) + "}\n");
    all.push_back(own[0]);
  }
  const lodestone::preference_summary sum = lodestone::summarise(all);
  print("{\"groups\": " + std::to_string(sum.groups) + ", \"accuracy\": " + json(sum.accuracy) +
        ", \"margin\": " + json(sum.margin) + ", \"reward_chosen\": " + json(sum.chosen_reward) +
        ", \"reward_rejected\": " + json(sum.rejected_reward) + ", \"log_prob_chosen\": " +
        json(sum.chosen_log_prob) + ", \"log_prob_rejected\": " + json(sum.rejected_log_prob) + "}\n");
}

template <class Arithmetic>
int score(const settings& s) {
  const lodestone::model_config config = read_config(s);
  const text_parts text(s, false);  // documents end as they are, without an end token
  any_store examples;
  {
    settings all = s;  // every record is scored as it stands
    all.max_tokens = 0;
    all.no_targets = "keep";
    lodestone::thread_pool pool(thread_count(s));
    examples = load_examples(s.data, all, text, config.vocabulary, pool, "data", nullptr, answers::all);
  }
  auto weights = load_weights<Arithmetic>(s, config);
  model<Arithmetic> llama(config, weights);
  if (examples.size() > 0 && examples[0].group != lodestone::no_group) {
    score_groups(llama, examples, s);
    return success;
  }
  for (std::int64_t i = 0; i < examples.size(); ++i) {
    const lodestone::token_batch batch =
        lodestone::batching::assemble(examples, {.examples = {i}}, lodestone::position::contiguous{}, 0, 0, 0);
    double sum = 0.0;
    const std::vector<double> log_probs = llama.log_probs(batch);
    for (const double log_prob : log_probs) sum -= log_prob;
    const auto json = [](double value) { return std::isfinite(value) ? lodestone::format_exact(value) : "null"; };
    const std::string mean = log_probs.empty() ? "null" : json(sum / static_cast<double>(log_probs.size()));
    print("{\"nll_sum\": " + json(sum) + ", \"nll_mean\": " + mean + ", \"targets\": " +
          std::to_string(log_probs.size()) + ", \"tokens\": " + std::to_string(batch.size()) + "}\n");
  }
  return success;
}

/// The part of `text` that ends with a whole UTF-8 character.
std::size_t whole_characters(std::string_view text) {
  std::size_t end = text.size();
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;  // continuation: look further left for the lead
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    if (length > back) end = text.size() - back;
    break;
  }
  return end;
}

template <class Arithmetic>
int generate(const settings& s) {
  if (s.temperature != 0.0)
    throw lodestone::config_error("only greedy generation is there", "--temperature", "give --temperature 0");
  const lodestone::model_config config = read_config(s);
  const text_parts text(s, false);
  const lodestone::tokenizer& tokenizer = text.tokenizer();
  const std::string prompt =
      s.prompt_file.empty() ? s.prompt : lodestone::read_text(s.prompt_file == "-" ? "/dev/stdin" : s.prompt_file);
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> stops = config.eos_tokens;
  if (s.chat) {
    text.require_template();
    const lodestone::chat_message question{lodestone::chat_role::user, prompt};
    ids = text.encoder().encode_prompt({&question, 1});
    if (const auto end = text.encoder().end_id()) stops.push_back(*end);
  } else {
    ids.assign(text.encoder().prefix().begin(), text.encoder().prefix().end());
    const std::vector<std::int32_t> own = tokenizer.encode(prompt, false);
    ids.insert(ids.end(), own.begin(), own.end());
  }
  if (config.max_positions > 0 && static_cast<std::int64_t>(ids.size()) + s.max_new_tokens > config.max_positions)
    note("warning: " + std::to_string(ids.size()) + " prompt tokens and " + std::to_string(s.max_new_tokens) +
         " new ones pass the " + std::to_string(config.max_positions) + " positions that the model was trained for");
  auto weights = load_weights<Arithmetic>(s, config);
  model<Arithmetic> llama(config, weights);

  // A token may be part of a character, and a tokenizer may drop a space at the start: the text is decoded with the
  // prompt, and what is new and whole is printed.
  std::vector<std::int32_t> all = ids;
  std::size_t printed = tokenizer.decode(all, true).size();
  lodestone::generate::greedy(llama, ids, s.max_new_tokens, stops, [&](std::int32_t token) {
    all.push_back(token);
    const std::string now = tokenizer.decode(all, true);
    const std::size_t end = whole_characters(now);
    if (end > printed) {
      print(std::string_view(now).substr(printed, end - printed));
      printed = end;
    }
    return true;
  });
  const std::string now = tokenizer.decode(all, true);
  print(std::string(std::string_view(now).substr(std::min(printed, now.size()))) + "\n");
  return success;
}

}  // namespace

int run_merge(const settings& s) {
  lodestone::thread_pool pool(thread_count(s));
  lodestone::merge_adapter(s.model, s.adapter, s.output,
                           {.type = export_type(s),
                            .existing = s.overwrite ? lodestone::existing_folder::replace
                                                    : lodestone::existing_folder::refuse},
                           pool);
  print(s.output + "\n");
  return success;
}

int run_score(const settings& s) {
  return with_arithmetic(s, [&](auto arithmetic) { return score<decltype(arithmetic)>(s); });
}

int run_generate(const settings& s) {
  return with_arithmetic(s, [&](auto arithmetic) { return generate<decltype(arithmetic)>(s); });
}

}  // namespace lodestone_cli
