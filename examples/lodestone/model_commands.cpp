// score and merge: a model that is only read.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/groups.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/error.hpp>
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

}  // namespace lodestone_cli
