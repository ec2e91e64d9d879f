// What answers prompts: a model on this machine, or one behind an endpoint. Evaluation and synthesis know only this.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/text/chat_message.hpp>

namespace lodestone::generate {

/// How a token is drawn from the model's distribution. The filters act in the order of the members, each on what the
/// one before it left; the token is then drawn in proportion to the remaining probabilities.
struct sampling {
  double repetition_penalty = 1.0;  ///< logits of tokens seen before: divided when positive, multiplied when negative
  double temperature = 0.0;         ///< logits are divided by it; 0: the most likely token, always
  std::int64_t top_k = 0;           ///< only the k most likely; 0: all
  double top_p = 1.0;               ///< the fewest tokens whose probabilities reach p together
  double min_p = 0.0;               ///< only tokens at least this share as likely as the most likely one
  std::uint64_t seed = 0;           ///< of this prompt's draws: they do not depend on its neighbours or on threads

  friend bool operator==(const sampling&, const sampling&) = default;
};

/// What stands before the answer: text that is tokenised as it is (with the tokenizer's own first tokens), a
/// conversation that the model's chat template writes, or token ids that are used as they are.
using prompt_input = std::variant<std::string, std::vector<chat_message>, std::vector<std::int32_t>>;

/// One answer that is asked for.
struct request {
  prompt_input prompt{};                    ///< must not be empty
  std::int64_t max_new_tokens = 256;        ///< at least 1
  std::int64_t min_new_tokens = 0;          ///< no end token is drawn before; stop strings are not looked for
  sampling draw{};                          ///< how tokens are chosen
  std::vector<std::string> stop{};          ///< the answer ends before the first of these
  std::vector<std::int32_t> stop_tokens{};  ///< beside the end tokens that the model's folder names
};

/// Why an answer ended.
enum class finish : std::uint8_t {
  stop,    ///< an end token or a stop string
  length,  ///< max_new_tokens
  failed   ///< there is no answer; `error` says why
};

/// The name that records use.
[[nodiscard]] constexpr const char* to_string(finish why) {
  switch (why) {
    case finish::stop: return "stop";
    case finish::length: return "length";
    case finish::failed: return "failed";
  }
  return "?";
}

/// One answer.
struct answer {
  std::string text{};                  ///< UTF-8, without end tokens and stop strings
  std::vector<std::int32_t> tokens{};  ///< as drawn, the end token included; empty when the model does not tell
  finish why = finish::stop;           ///< why it ended
  std::string error{};                 ///< of finish::failed: what, where, and what to do
  std::int64_t prompt_tokens = 0;      ///< tokens of the prompt; 0: unknown
};

/// Hears answer number i of a call, once for each request, in the order in which they end.
using answer_listener = std::function<void(std::size_t, answer&&)>;

/// Hears new text of answer number i while it grows: whole UTF-8 characters, nothing that a stop string might still
/// take away. All pieces together are answer::text.
using text_listener = std::function<void(std::size_t, std::string_view)>;

/// A model that answers prompts.
///
/// Requires
///  1. `generate(requests, each)`: calls each(i, answer) exactly once for every request, on the caller's thread, in any
///     order, and returns when all are answered. An answer that could not be had is finish::failed; what would fail for
///     every request alike (a wrong key, a model that does not load) throws.
///  2. `name()`: the model, as records name it.
/// Laws: the same request with the same seed gives the same answer, whatever stands beside it, where the model behind
/// is deterministic (the local one is, up to the rounding of its logits).
/// Not required: thread safety.
template <class G>
concept generator = requires(G& g, std::span<const request> requests, const answer_listener& each) {
  g.generate(requests, each);
  { g.name() } -> std::convertible_to<std::string>;
};

/// A generator whose answers can be heard while they grow: `generate(requests, each, grows)`.
template <class G>
concept streaming_generator =
    generator<G> && requires(G& g, std::span<const request> requests, const answer_listener& each,
                             const text_listener& grows) { g.generate(requests, each, grows); };

/// Any generator, chosen at run time. It does not own what it calls: that must outlive it.
class any_generator {
 public:
  /// Stands for `model`.
  template <class Model>
  requires(!std::same_as<Model, any_generator> && generator<Model>) explicit any_generator(Model& model)
      : generate_([&model](std::span<const request> requests, const answer_listener& each, const text_listener& grows) {
          if constexpr (streaming_generator<Model>) {
            model.generate(requests, each, grows);
          } else {
            model.generate(requests, [&](std::size_t i, answer&& whole) {
              if (grows && !whole.text.empty()) grows(i, whole.text);
              each(i, std::move(whole));
            });
          }
        }),
        name_([&model] { return std::string(model.name()); }) {}

  /// What the model does. One that does not stream gives `grows` each text whole.
  ///@{
  void generate(std::span<const request> requests, const answer_listener& each, const text_listener& grows = {}) const {
    generate_(requests, each, grows);
  }
  [[nodiscard]] std::string name() const { return name_(); }
  ///@}

 private:
  std::function<void(std::span<const request>, const answer_listener&, const text_listener&)> generate_;
  std::function<std::string()> name_;
};
static_assert(generator<any_generator>);

}  // namespace lodestone::generate
