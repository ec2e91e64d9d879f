// The local model as one that scores texts, in the settings' arithmetic.
#include <lodestone/core/error.hpp>
#include <lodestone/eval/scoring.hpp>
#include <lodestone/model/llama.hpp>

#include "arithmetic.hpp"
#include "eval_tasks.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {

void with_scoring_model(const settings& s, const std::function<void(const lodestone::eval::any_scoring_model&)>& use) {
  if (!s.endpoint.empty())
    throw lodestone::config_error("an endpoint does not tell the probabilities of given texts", "endpoint",
                                  "measure perplexity and choices with --model, in a run of their own");
  with_arithmetic(s, [&](auto arithmetic) {
    using own = decltype(arithmetic);
    const lodestone::model_config config = read_config(s);
    auto weights = load_weights<own>(s, config);
    lodestone::llama<typename own::backend, typename own::attention> model(config, weights);
    use(lodestone::eval::any_scoring_model(model));
  });
}

}  // namespace lodestone_cli
