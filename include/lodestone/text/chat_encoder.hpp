// Turns conversations and plain documents into token ids, shifted labels and weights. More than 400 lines, because the
// encoder is one class, and its template over the tokenizer keeps its bodies here.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_families.hpp>
#include <lodestone/text/chat_program.hpp>
#include <lodestone/text/chat_template.hpp>
#include <lodestone/text/special_tokens.hpp>

namespace lodestone {

/// What encoding needs of a tokenizer; lodestone::tokenizer models it.
///
/// Requires: encode(text, add_special, parse_special), id_of, token_of for ids in [0, vocabulary_size()), unknown_id,
/// and prefix(): the ids that the post-processor puts before a sequence. Laws: all are pure and safe to call from
/// several threads; encode("") without special tokens is empty.
template <class T>
concept chat_tokenizer = requires(const T& tokenizer, std::string_view text, std::int32_t id) {
  { tokenizer.encode(text, false, true) } -> std::convertible_to<std::vector<std::int32_t>>;
  { tokenizer.id_of(text) } -> std::convertible_to<std::optional<std::int32_t>>;
  { tokenizer.token_of(id) } -> std::convertible_to<std::string_view>;
  { tokenizer.vocabulary_size() } -> std::convertible_to<std::int32_t>;
  { tokenizer.unknown_id() } -> std::convertible_to<std::optional<std::int32_t>>;
  { tokenizer.prefix() } -> std::convertible_to<std::vector<std::int32_t>>;
};

/// A tokenised sequence that owns its memory; see example_view for the meaning of its members.
struct encoded_sequence {
  std::vector<std::int32_t> tokens;    ///< [n]
  std::vector<std::int32_t> labels;    ///< [n], shifted: what row r predicts, or no_label
  std::vector<float> weights;          ///< [n], 0 where there is no label
  double weight = 1.0;                 ///< w, the weight of the example
  std::int64_t group = no_group;       ///< preference group
  std::int32_t role = 0;               ///< 0 chosen, j > 0 rejected answer j of its group
  std::int64_t prompt = 0;             ///< tokens that all answers of its group share
  double reference = no_reference;     ///< log-probability of its targets under a reference model
  std::vector<std::int64_t> chunks{};  ///< bounds of the context's chunks; empty: unknown

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }  ///< n
  /// Number of rows with a label.
  [[nodiscard]] std::int64_t targets() const;
  /// The same rows, valid while the vectors stay as they are; `index` is the key of the example's random numbers.
  [[nodiscard]] example_view view(std::int64_t index = 0) const;
  /// Member by member; two unknown references are equal, though no_reference is not a number.
  friend bool operator==(const encoded_sequence& a, const encoded_sequence& b);
};

/// How the pieces of a conversation (prompt, answer, prompt, ...), which are tokenised apart, are joined.
enum class piece_joint {
  continuous,  ///< as if the text were one string: a tokenizer that puts a space before every string does not here
  separate     ///< each piece by itself, with that space: what the original LongAlign code does
};

/// What control tokens in the content of messages and documents mean.
enum class content_tokens {
  literal,  ///< nothing: "<|eot_id|>" in a document is characters, so that data cannot forge a turn
  parse     ///< what they mean in a template, as Hugging Face tokenizers read them
};

/// How conversations become tokens and targets.
struct chat_encoding {
  target_choice targets = target_choice::all_answers;  ///< what is trained; the tokens stay the same
  piece_joint joint = piece_joint::continuous;         ///< how prompts and answers are joined
  content_tokens content = content_tokens::literal;    ///< control tokens in messages and documents
  /// The original's end-token labels (answer_end::label_only) in place of the template's own choice.
  bool original_end_labels = false;
  bool end_of_text = false;  ///< plain documents end with the end-of-sequence token
};

/// What the encoder counted in one conversation or document.
struct encoding_report {
  std::int64_t empty_answers = 0;     ///< answers without text: masked, unless all tokens are trained
  std::int64_t unanswered_turns = 0;  ///< messages after the last answer: left out
  std::int64_t doubled_bos = 0;       ///< the text repeated what the tokenizer puts first: removed
  std::int64_t unknown_tokens = 0;    ///< tokens with the tokenizer's id for unknown text
  std::int64_t literal_tokens = 0;    ///< control tokens in content, kept as characters
};

namespace detail {

/// The control tokens of a vocabulary, and where they stand in a text.
class control_words {
 public:
  void add(std::string_view word);
  /// Once, behind the last add().
  void sort();
  [[nodiscard]] bool empty() const { return starts_.empty(); }
  [[nodiscard]] bool contains(std::string_view word) const;
  /// Adds (`offset` + place, length) to `found` for each that stands in `text`, from left to right, the longest at each
  /// place; returns how many.
  std::int64_t find_all(std::string_view text, std::size_t offset,
                        std::vector<std::pair<std::size_t, std::size_t>>& found) const;

 private:
  [[nodiscard]] std::pair<std::size_t, std::size_t> find(std::string_view text, std::size_t from) const;

  std::vector<std::string> words_;  // sorted
  std::string starts_;              // their first bytes
};

/// A piece is text that is tokenised at once; inside it control tokens of contents stay literal.
struct text_piece {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> literals;  // offset, length
  double weight = 0.0;
  bool is_first_only = false;
};

/// A sequence in the making.
struct assembly {
  encoded_sequence sequence;
  std::optional<std::int32_t> last;  // the last token, when it is a control token
  bool is_start = true;              // nothing but the prefix stands so far
  bool is_label_fixed = false;       // the last row predicts an end token that is not input

  /// Adds a token; `weight` > 0 makes it the target of the row before.
  void push(std::int32_t id, double weight);
};

/// Whether `whole` starts with the ids of `head`.
[[nodiscard]] bool begins_with(const std::vector<std::int32_t>& whole, const std::vector<std::int32_t>& head);

/// Whether a template wrote some of the text.
[[nodiscard]] bool is_conversation(std::span<const chat_segment> segments);

/// Removes `prefix` from the start of the text and returns how often: data that was rendered before often begins with
/// the token that the post-processor is about to write again.
std::int64_t remove_doubled(const std::string& prefix, std::vector<chat_segment>& segments);

}  // namespace detail

/// Encodes conversations by one template with one tokenizer. Immutable after construction: safe to call from several
/// threads. The tokenizer must outlive it.
///
/// Laws: the tokens do not depend on the choice of targets; decoding the labels of an answer gives the answer, its
/// suffix and the end token.
template <class Tokenizer>
class chat_encoder {
  static_assert(chat_tokenizer<Tokenizer>, "chat_encoder: the tokenizer lacks a member that chat_tokenizer lists");

 public:
  /// Throws config_error when the template's end token is not in the vocabulary or "{eos}" is not known.
  chat_encoder(const Tokenizer& tokenizer, chat_template form, chat_encoding options = {}, special_tokens specials = {})
      : tokenizer_(&tokenizer), form_(std::move(form)), options_(options), prefix_(tokenizer.prefix()) {
    find_eos(specials);
    find_control_tokens();
    find_guard();
    if (options_.original_end_labels) form_.end = answer_end::label_only;
    if (form_.program) {
      find_program_end();
    } else if (form_.end_token == "{eos}") {
      if (!eos_) {
        throw config_error("the template ends answers with {eos}, but the model folder names no end-of-sequence token",
                           "template.end_token", "write the token itself");
      }
      end_id_ = eos_;
      form_.end_token = std::string(tokenizer_->token_of(*eos_));
    } else if (!form_.end_token.empty()) {
      end_id_ = tokenizer_->id_of(form_.end_token);
      if (!end_id_ && (form_.name != "custom" || form_.end == answer_end::label_only)) {
        throw config_error("the end token " + form_.end_token + " of template '" + form_.name +
                               "' is not in the tokenizer's vocabulary",
                           "template", "choose the template that belongs to the model: " + chat_template_names());
      }
    }
    if (prefix_.empty() && !form_.begin.empty()) {
      prefix_ = encode_plain(form_.begin, true);
      if (!std::all_of(prefix_.begin(), prefix_.end(), [this](std::int32_t id) { return is_control(id); })) {
        throw config_error("template '" + form_.name + "' begins with " + form_.begin +
                               ", which is not made of control tokens of the vocabulary",
                           "template", "choose the template that belongs to the model: " + chat_template_names());
      }
    }
    for (const std::int32_t id : prefix_) prefix_text_ += tokenizer_->token_of(id);
  }

  /// The conversation with its targets. Throws data_error at `where` as render() does.
  [[nodiscard]] encoded_sequence encode(std::span<const chat_message> messages, std::string_view where = {},
                                        encoding_report* report = nullptr) const {
    render_report rendered;
    std::vector<chat_segment> segments = render(form_, messages, options_.targets, where, &rendered);
    encoding_report counts;
    counts.empty_answers = rendered.empty_answers;
    counts.unanswered_turns = rendered.unanswered_turns;
    encoded_sequence result = join(segments, counts);
    if (report != nullptr) *report = counts;
    return result;
  }

  /// A plain document: all tokens are targets, the post-processor's prefix stands first, and the end-of-sequence token
  /// last if the options ask for it.
  [[nodiscard]] encoded_sequence encode_text(std::string_view text, encoding_report* report = nullptr) const {
    std::vector<chat_segment> segments(1);
    segments[0].text = text;
    segments[0].is_template = false;
    segments[0].weight = 1.0;
    if (options_.end_of_text) {
      if (!eos_) {
        throw config_error("documents shall end with the end-of-sequence token, but the model folder names none",
                           "end_of_text", "add eos_token to tokenizer_config.json, or switch end_of_text off");
      }
      chat_segment& end = segments.emplace_back();
      end.is_end_token = true;
      end.weight = 1.0;
      end.text = std::string(tokenizer_->token_of(*eos_));
    }
    encoding_report counts;
    encoded_sequence result = join(segments, counts, eos_);
    if (report != nullptr) *report = counts;
    return result;
  }

  /// The ids after which the model writes its answer.
  [[nodiscard]] std::vector<std::int32_t> encode_prompt(std::span<const chat_message> messages) const {
    std::vector<chat_segment> segments = render_prompt(form_, messages);
    encoding_report counts;
    return join(segments, counts).tokens;
  }

  /// Segments that the caller rendered, and cut or joined as he wants: alone, behind the prefix; or behind `before`, a
  /// sequence that they continue, of which the result repeats the last token as row 0 (it predicts the first new one).
  /// `end_id` is what a segment with is_end_token becomes; without it that segment is text.
  [[nodiscard]] encoded_sequence encode_segments(std::vector<chat_segment> segments, std::optional<std::int32_t> end_id,
                                                 std::span<const std::int32_t> before = {},
                                                 encoding_report* report = nullptr) const {
    encoding_report counts;
    encoded_sequence result = join(segments, counts, end_id, before);
    if (report != nullptr) *report = counts;
    return result;
  }

  /// The template in use: "{eos}" is replaced by the token, and original_end_labels is applied.
  [[nodiscard]] const chat_template& form() const { return form_; }
  /// As the constructor took them.
  [[nodiscard]] const chat_encoding& options() const { return options_; }
  /// The tokenizer that the constructor was given, which must outlive the encoder.
  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] std::optional<std::int32_t> end_id() const { return end_id_; }  ///< ends an answer; stop here
  [[nodiscard]] std::optional<std::int32_t> eos() const { return eos_; }        ///< ends a document; none: not named
  /// What stands before every sequence: the post-processor's prefix or the template's `begin`.
  [[nodiscard]] std::span<const std::int32_t> prefix() const { return prefix_; }

 private:
  using ids = std::vector<std::int32_t>;
  using piece = detail::text_piece;
  using assembly = detail::assembly;

  void find_eos(const special_tokens& specials) {
    if (specials.eos) eos_ = tokenizer_->id_of(*specials.eos);
    if (!eos_ && specials.eos_id && *specials.eos_id >= 0 && *specials.eos_id < tokenizer_->vocabulary_size()) {
      eos_ = specials.eos_id;
    }
  }

  /// What ends an answer of a program: the first control token that it writes behind one, else the end of a sequence.
  void find_program_end() {
    if (options_.original_end_labels)
      throw config_error("a rendered template has no place for the original's end labels", "original_end_labels",
                         "name a built-in template: " + chat_template_names());
    end_id_ = eos_;
    const ids ending = encode_plain(form_.program->ending(), true);
    const auto control = std::find_if(ending.begin(), ending.end(), [this](std::int32_t id) { return is_control(id); });
    if (control != ending.end()) end_id_ = *control;
    form_.end_token = end_id_ ? std::string(tokenizer_->token_of(*end_id_)) : std::string();
  }

  [[nodiscard]] ids encode_plain(std::string_view text, bool parse) const {
    return tokenizer_->encode(text, false, parse);
  }

  /// The strings that the tokenizer reads as one token only when it parses control tokens.
  void find_control_tokens() {
    for (std::int32_t id = 0; id < tokenizer_->vocabulary_size(); ++id) {
      const std::string_view token = tokenizer_->token_of(id);
      if (token.empty()) continue;
      if constexpr (requires { tokenizer_->is_special(id); }) {
        if (!tokenizer_->is_special(id)) continue;
      } else {
        const bool is_bracketed =
            (token.front() == '<' && token.back() == '>') || (token.front() == '[' && token.back() == ']');
        if (token.size() < 3 || !is_bracketed) continue;
      }
      if (encode_plain(token, true) == ids{id} && encode_plain(token, false) != ids{id}) controls_.add(token);
    }
    controls_.sort();
  }

  [[nodiscard]] bool is_control(std::int32_t id) const { return controls_.contains(tokenizer_->token_of(id)); }

  /// SentencePiece tokenizers put a space before every string they are given. In the middle of a text there is none:
  /// such a piece is encoded behind a newline, which merges with nothing, and the newline's tokens are dropped.
  void find_guard() {
    if (options_.joint == piece_joint::separate) return;
    const ids guard = encode_plain("\n", false);
    const ids behind = encode_plain("\nx", false);
    if (behind.size() <= guard.size() || !detail::begins_with(behind, guard)) return;
    const ids rest(behind.begin() + static_cast<std::ptrdiff_t>(guard.size()), behind.end());
    if (rest != encode_plain("x", false)) guard_ = guard;
  }

  /// Encodes text that continues a sequence; `last` is the token before when that token is a control token.
  [[nodiscard]] ids encode_continued(std::string_view text, bool parse, std::optional<std::int32_t> last) const {
    if (guard_.empty() || text.empty()) return encode_plain(text, parse);
    if (last && parse) {  // behind a control token the tokenizer decides itself whether a space comes
      std::string joined(tokenizer_->token_of(*last));
      joined += text;
      ids result = encode_plain(joined, true);
      if (!result.empty() && result.front() == *last) {
        result.erase(result.begin());
        return result;
      }
    }
    std::string joined = "\n";
    joined += text;
    ids result = encode_plain(joined, parse);
    if (!detail::begins_with(result, guard_)) return encode_plain(text, parse);
    result.erase(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(guard_.size()));
    return result;
  }

  void add_to(piece& target, const chat_segment& segment, encoding_report& counts) const {
    if (!segment.is_template && options_.content == content_tokens::literal && !controls_.empty()) {
      counts.literal_tokens += controls_.find_all(segment.text, target.text.size(), target.literals);
    }
    target.text += segment.text;
  }

  void flush(assembly& work, piece& waiting) const {
    if (waiting.text.empty()) return;
    const std::string_view text = waiting.text;
    bool is_first = true;
    const auto write = [&](std::string_view part, bool parse) {
      if (part.empty()) return;
      const ids result = work.is_start ? encode_plain(part, parse) : encode_continued(part, parse, work.last);
      work.is_start = false;
      for (const std::int32_t id : result) {
        work.push(id, waiting.is_first_only && !is_first ? 0.0 : waiting.weight);
        is_first = false;
      }
      work.last.reset();
      if (!guard_.empty() && !result.empty() && is_control(result.back())) work.last = result.back();
    };
    std::size_t at = 0;
    for (const auto& [begin, length] : waiting.literals) {
      write(text.substr(at, begin - at), true);
      write(text.substr(begin, length), false);
      at = begin + length;
    }
    write(text.substr(at), true);
    waiting = {};
  }

  [[nodiscard]] encoded_sequence join(std::vector<chat_segment>& segments, encoding_report& counts) const {
    return join(segments, counts, end_id_);
  }

  [[nodiscard]] encoded_sequence join(std::vector<chat_segment>& segments, encoding_report& counts,
                                      std::optional<std::int32_t> end_id,
                                      std::span<const std::int32_t> before = {}) const {
    assembly work;
    if (before.empty()) {
      if (!form_.program || !detail::is_conversation(segments)) {  // a program writes the first tokens itself, or none
        counts.doubled_bos += detail::remove_doubled(prefix_text_, segments);
        for (const std::int32_t id : prefix_) work.push(id, 0.0);
      }
    } else {
      work.push(before.back(), 0.0);
      work.is_start = false;
      if (is_control(before.back())) work.last = before.back();
    }
    piece waiting;
    for (const chat_segment& segment : segments) {
      if (segment.bounds_chunk) {
        flush(work, waiting);
        const std::int64_t place = work.sequence.size();
        std::vector<std::int64_t>& bounds = work.sequence.chunks;
        if (bounds.empty() || bounds.back() < place) bounds.push_back(place);  // a chunk without tokens is none
      }
      if (segment.is_end_token && end_id) {
        flush(work, waiting);
        if (!segment.is_label_only) {
          work.push(*end_id, segment.weight);
          work.last = *end_id;
          work.is_start = false;
        } else if (segment.weight > 0.0 && !work.sequence.tokens.empty()) {
          work.sequence.labels.back() = *end_id;
          work.sequence.weights.back() = static_cast<float>(segment.weight);
          work.is_label_fixed = true;
        }
        continue;
      }
      if (segment.text.empty()) continue;
      if (segment.starts_piece) flush(work, waiting);
      if (waiting.text.empty()) {
        waiting.weight = segment.weight;
        waiting.is_first_only = segment.is_first_token_target;
      }
      add_to(waiting, segment, counts);
    }
    flush(work, waiting);
    if (const auto unknown = tokenizer_->unknown_id()) {
      counts.unknown_tokens +=
          std::count(work.sequence.tokens.begin() + (before.empty() ? 0 : 1), work.sequence.tokens.end(), *unknown);
    }
    return std::move(work.sequence);
  }

  const Tokenizer* tokenizer_;
  chat_template form_;
  chat_encoding options_;
  ids prefix_;
  std::string prefix_text_;
  ids guard_;
  detail::control_words controls_;
  std::optional<std::int32_t> eos_;
  std::optional<std::int32_t> end_id_;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/chat_encoder.ipp>
#endif
