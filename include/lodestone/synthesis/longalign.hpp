// LongAlign's data: long instruction data by Self-Instruct about documents, in one run that can be interrupted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/documents.hpp>
#include <lodestone/generate/concept.hpp>
#include <lodestone/synthesis/ask.hpp>
#include <lodestone/synthesis/question_stage.hpp>

namespace lodestone::synthesis {

/// The length of a text in the unit of sample_options: tokens of a model, or characters.
using text_length = std::function<std::int64_t(std::string_view)>;

/// Which documents are used.
struct sample_options {
  std::int64_t count = 0;  ///< documents; 0: all that the limits and quotas leave
  std::map<std::string, std::int64_t>
      quotas{};  ///< most documents of a source; a source that is not named has no limit
  /// A document is drawn in proportion to its length to this power: 0 draws all alike, 1 makes one of twice the length
  /// twice as likely. The paper draws longer ones more often and does not say how much.
  double length_power = 1.0;
  std::int64_t shortest = 0;  ///< a document of less is not used
  std::int64_t longest = 0;   ///< a document of more is not used (the paper: 64k tokens); 0: no limit
};

/// What sampling left out.
struct sample_counts {
  std::int64_t too_short = 0;   ///< documents below `shortest`
  std::int64_t too_long = 0;    ///< and above `longest`
  std::int64_t over_quota = 0;  ///< documents whose source had enough
  std::int64_t not_drawn = 0;   ///< documents above `count`
};

/// The numbers of the documents that are used, ascending: drawn without replacement, in proportion to their lengths'
/// power, at most as many of each source as its quota says.
///
/// Each document has a key that depends on the seed, its id and its length alone, and those with the largest keys win
/// (A-ES, Efraimidis and Spirakis 2006). So documents that come and go change no other document's place in the order.
/// Throws config_error for a negative power or count.
[[nodiscard]] std::vector<std::size_t> sample_documents(std::span<const text_document> documents,
                                                        const sample_options& options, std::uint64_t seed,
                                                        const text_length& length, sample_counts* counts = nullptr);

/// How instruction data is made.
struct longalign_options {
  sample_options sample{};                                 ///< which documents are used
  question_options questions{};                            ///< what they are asked about
  ask_options ask{.max_new_tokens = 1024, .attempts = 3};  ///< how answers are asked for
  text_length length{};          ///< the unit of the limits and of the records' `length`; empty: characters
  bool accept_failures = false;  ///< records are written even if answers could not be had
};

/// What came of a run.
struct longalign_summary {
  std::int64_t documents = 0;                          ///< that were read
  std::int64_t sampled = 0;                            ///< that were used
  sample_counts left_out{};                            ///< why others were not
  ask_counts made_questions{};                         ///< asking for questions
  ask_counts answers{};                                ///< asking one of each five
  std::int64_t empty_answers = 0;                      ///< answers without text: left out
  std::int64_t records = 0;                            ///< that were written
  std::map<std::string, std::int64_t> per_source{};    ///< records by source
  std::map<std::string, std::int64_t> per_kind{};      ///< records by kind of question
  std::map<std::string, std::int64_t> per_language{};  ///< records by language
  bool is_complete = false;                            ///< the output has its name

  /// One JSON object.
  [[nodiscard]] std::string to_json() const;
};

/// Makes instruction data about documents and writes it to `output` (NAME.jsonl) as chat records that `sft` reads: the
/// user's turn is the document, a blank line and the question. The file appears complete or not at all; beside it stand
/// NAME.proposals.jsonl, NAME.answers.jsonl and NAME.summary.json (docs/14_synthesis.md).
///
/// For each document one of the kinds of prompts is drawn, the generator writes five questions, one of them is drawn,
/// and the generator answers it: all by (seed, document). A run that was killed goes on as make_preferences() does.
longalign_summary make_instructions(const generate::any_generator& model, std::span<const text_document> documents,
                                    const longalign_options& options, const std::filesystem::path& output);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/longalign.ipp>
#endif
