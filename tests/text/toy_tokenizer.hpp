// A tokenizer small enough to check by eye: bytes, letters with their leading space, and control tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestone_test {

/// Tokens: the control tokens, then 256 bytes, then " a" to " z". With `adds_space` it behaves like SentencePiece: a
/// space comes before every run of text between control tokens, and decode drops the first one.
class toy_tokenizer {
 public:
  explicit toy_tokenizer(std::vector<std::string> controls, std::vector<std::int32_t> prefix = {},
                         bool adds_space = false)
      : tokens_(std::move(controls)),
        controls_(static_cast<std::int32_t>(tokens_.size())),
        prefix_(std::move(prefix)),
        adds_space_(adds_space) {
    for (int byte = 0; byte < 256; ++byte) tokens_.emplace_back(1, static_cast<char>(byte));
    for (char letter = 'a'; letter <= 'z'; ++letter) tokens_.push_back(std::string(" ") + letter);
  }

  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_special = true,
                                                 bool parse_special = true) const {
    std::vector<std::int32_t> ids;
    if (add_special) ids = prefix_;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (adds_space_) run.insert(run.begin(), ' ');
      for (std::size_t i = 0; i < run.size(); ++i) {
        const bool is_pair = run[i] == ' ' && i + 1 < run.size() && run[i + 1] >= 'a' && run[i + 1] <= 'z';
        ids.push_back(is_pair ? controls_ + 256 + (run[i + 1] - 'a') : controls_ + static_cast<unsigned char>(run[i]));
        if (is_pair) ++i;
      }
      run.clear();
    };
    for (std::size_t i = 0; i < text.size();) {
      std::int32_t found = -1;
      for (std::int32_t id = 0; parse_special && id < controls_; ++id) {
        const std::string& token = tokens_[static_cast<std::size_t>(id)];
        if (!text.substr(i).starts_with(token)) continue;
        if (found < 0 || token.size() > tokens_[static_cast<std::size_t>(found)].size()) found = id;
      }
      if (found < 0) {
        run += text[i++];
        continue;
      }
      flush();
      ids.push_back(found);
      i += tokens_[static_cast<std::size_t>(found)].size();
    }
    flush();
    return ids;
  }

  /// The text of ids as it stands, with the spaces that adds_space put there.
  [[nodiscard]] std::string spell(std::span<const std::int32_t> ids) const {
    std::string text;
    for (const std::int32_t id : ids) text += tokens_[static_cast<std::size_t>(id)];
    return text;
  }

  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const {
    const auto found = std::find(tokens_.begin(), tokens_.end(), token);
    if (found == tokens_.end()) return std::nullopt;
    return static_cast<std::int32_t>(found - tokens_.begin());
  }
  [[nodiscard]] std::string_view token_of(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] std::int32_t vocabulary_size() const { return static_cast<std::int32_t>(tokens_.size()); }
  [[nodiscard]] std::optional<std::int32_t> unknown_id() const { return controls_ + '?'; }
  [[nodiscard]] std::vector<std::int32_t> prefix() const { return prefix_; }
  [[nodiscard]] bool is_special(std::int32_t id) const { return id < controls_; }

 private:
  std::vector<std::string> tokens_;
  std::int32_t controls_;
  std::vector<std::int32_t> prefix_;
  bool adds_space_;
};

/// A toy tokenizer with the control tokens of every known chat format.
inline toy_tokenizer every_format(bool adds_space = false) {
  return toy_tokenizer(
      {"<s>", "</s>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>",
       "<|im_end|>", "[gMASK]", "sop", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"},
      {}, adds_space);
}

}  // namespace lodestone_test
