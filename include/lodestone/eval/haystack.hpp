// Long text to hide things in: sentences whose ends are found in the text, whatever the tokenizer.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone::eval {

/// Where the sentences of `text` end, as byte offsets behind their last mark and the quotes and brackets that close
/// there; ascending, the last one behind the last character that is no white space.
///
/// A sentence ends at . ! ? before white space, at the full-width marks of Chinese and Japanese wherever they stand,
/// and at an empty line. A full stop behind a title or a single capital letter (Mr. Holmes, J. F. Kennedy), or before a
/// word in small letters (e.g. this), ends none. What is not UTF-8 ends nothing.
[[nodiscard]] std::vector<std::size_t> sentence_ends(std::string_view text);

/// Texts as one endless row of sentences: behind the last one the first follows again.
class haystack {
 public:
  /// A sentence and the white space up to the next one: pieces in a row are the text.
  struct piece {
    std::string_view sentence{};  ///< without white space around it
    std::string_view space{};     ///< what follows it; empty where Chinese sentences touch
  };

  /// An empty line stands between texts. Throws data_error when there is no sentence in them.
  explicit haystack(const std::vector<std::string>& texts);

  /// Reads a text file, or the .txt files of a folder in the order of their names. Throws io_error, and data_error for
  /// what is not UTF-8 (with file and line).
  [[nodiscard]] static haystack read(const std::filesystem::path& file_or_folder);

  /// Sentences before they repeat.
  [[nodiscard]] std::size_t size() const { return ends_.size(); }
  /// Sentence number i of the endless row; the views live as long as this object stays where it is.
  [[nodiscard]] piece operator[](std::size_t i) const;
  /// Whether the text holds `part`, white space included.
  [[nodiscard]] bool contains(std::string_view part) const { return text_.find(part) != std::string::npos; }

 private:
  struct span {
    std::size_t begin = 0, end = 0, next = 0;  ///< of the sentence, and where the next one begins
  };

  std::string text_;
  std::vector<span> ends_;
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/haystack.ipp>
#endif
