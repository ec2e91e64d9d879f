// Retrieval heads of the local model, on the questions of the needle test: it answers, and its attention is watched.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/attention/observed.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/eval/retrieval_heads.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/text/chat_message.hpp>

#include "arithmetic.hpp"
#include "data_parts.hpp"
#include "eval_tasks.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {

void score_retrieval_heads(const settings& s, const lodestone::eval::needle& asked, bool is_chat,
                           const lodestone::eval::record_filter& is_done,
                           const lodestone::eval::record_listener& each) {
  namespace eval = lodestone::eval;
  if (!s.endpoint.empty())
    throw lodestone::config_error("an endpoint does not show its attention", "endpoint",
                                  "look for retrieval heads with --model, in a run of their own");
  const text_parts text(s, false);
  const lodestone::tokenizer& words = text.tokenizer();
  with_arithmetic(s, [&](auto arithmetic) {
    using own = decltype(arithmetic);
    const lodestone::model_config config = read_config(s);
    auto weights = load_weights<own>(s, config);
    lodestone::llama<typename own::backend, lodestone::observed_attention<typename own::attention>> model(config,
                                                                                                          weights);
    std::vector<std::int32_t> ends = config.eos_tokens;
    if (const auto end = text.encoder().end_id(); is_chat && end) ends.push_back(*end);
    const std::size_t most = s.questions > 0 ? static_cast<std::size_t>(s.questions) : asked.size();
    for (std::size_t i = 0; i < std::min(most, asked.size()); ++i) {
      if (is_done(asked.id(i))) continue;
      eval::question question = asked.ask(i);
      eval::retrieval_example example{.id = std::move(question.id), .labels = std::move(question.labels)};
      if (is_chat) {
        const lodestone::chat_message turn{.role = lodestone::chat_role::user, .content = question.prompt};
        example.prompt = text.encoder().encode_prompt({&turn, 1});
      } else {
        example.prompt.assign(text.encoder().prefix().begin(), text.encoder().prefix().end());
        const std::vector<std::int32_t> ids = words.encode(question.prompt, false);
        example.prompt.insert(example.prompt.end(), ids.begin(), ids.end());
      }
      example.needles = eval::find_needles(words, example.prompt, asked.facts(i));
      example.answer = lodestone::generate::greedy(model, example.prompt, question.max_new_tokens, ends);
      for (std::size_t n = 1; n < example.answer.size(); ++n) {  // it ends with what holds a stop string
        const std::string so_far = words.decode(std::span(example.answer).first(n));
        const auto stops = [&](const std::string& stop) { return so_far.find(stop) != std::string::npos; };
        if (std::any_of(question.stop.begin(), question.stop.end(), stops)) example.answer.resize(n);
      }
      eval::retrieval_heads(model, {&example, 1}, {}, each);
    }
  });
}

}  // namespace lodestone_cli
