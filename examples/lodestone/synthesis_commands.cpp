// synthesise: documents in, training data out.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/synthesis/logo.hpp>
#include <lodestone/synthesis/longalign.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "commands.hpp"
#include "generator_parts.hpp"

namespace lodestone_cli {
namespace {

namespace generate = lodestone::generate;
namespace synthesis = lodestone::synthesis;
using lodestone::config_error;

/// A line on standard error every few seconds.
std::function<void(std::string_view, std::int64_t, std::int64_t)> make_progress() {
  using clock = std::chrono::steady_clock;
  return [last = clock::now()](std::string_view stage, std::int64_t done, std::int64_t of) mutable {
    const auto now = clock::now();
    if (done < of && now - last < std::chrono::seconds(5)) return;
    last = now;
    note(std::string(stage) + ": " + std::to_string(done) + " of " + std::to_string(of));
  };
}

synthesis::ask_options make_asking(const settings& s) {
  const generate::request asked = make_request(s);
  synthesis::ask_options ask;
  ask.seed = static_cast<std::uint64_t>(s.seed);
  ask.draw = asked.draw;
  ask.max_new_tokens = asked.max_new_tokens;
  ask.min_new_tokens = asked.min_new_tokens;
  ask.stop = asked.stop;
  ask.attempts = s.attempts;
  ask.at_once = std::max<std::int64_t>(4 * s.at_once, 16);  // a queue, so that no place of the batch is empty
  ask.progress = make_progress();
  return ask;
}

synthesis::question_options make_questions(const settings& s) {
  synthesis::question_options questions;
  questions.count = s.questions_per_prompt;
  questions.prompts = s.prompts_per_document;
  questions.max_new_tokens = s.question_tokens;
  if (s.language != "auto")
    questions.tongue = s.language == "chinese" ? synthesis::language::chinese : synthesis::language::english;
  if (!s.question_kinds.empty()) {
    questions.kinds.clear();
    for (const std::string& name : s.question_kinds) questions.kinds.push_back(synthesis::parse_question_kind(name));
  }
  return questions;
}

synthesis::logo_options make_logo(const settings& s) {
  synthesis::logo_options options;
  options.select = {.rule = s.selection == "threshold"  ? synthesis::selection_rule::threshold
                            : s.selection == "original" ? synthesis::selection_rule::original
                                                        : synthesis::selection_rule::rank,
                    .threshold = s.threshold,
                    .important = s.important_chunks,
                    .least = s.least_score,
                    .context = s.context_chunks,
                    .rejected = s.rejected_answers};
  options.filter = {.metric = synthesis::agreement, .least = s.least_metric};
  options.ask = make_asking(s);
  options.questions = make_questions(s);
  options.context_form = s.context_form;
  options.chunk_separator = s.chunk_separator;
  if (s.released_prompt) {
    if (s.context_form != settings{}.context_form || !s.chunk_separator.empty())
      throw config_error("stands beside a prompt of your own", "--released-prompt",
                         "leave out context_form and chunk_separator");
    options.context_form = synthesis::released_context_form;
    options.chunk_separator = synthesis::released_chunk_separator;
  }
  options.prompt = s.prompt_as == "text"     ? synthesis::prompt_kind::text
                   : s.prompt_as == "tokens" ? synthesis::prompt_kind::tokens
                                             : synthesis::prompt_kind::chat;
  options.common_words = s.common_words;
  options.score_answers = s.score_answers;
  options.accept_failures = s.accept_failures;
  options.only_scores = s.scores_only;
  return options;
}

/// "wiki=100" as a name and a number.
std::pair<std::string, std::int64_t> parse_quota(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  std::int64_t count = -1;
  if (equals != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + equals + 1, end, count);
    if (read.ec != std::errc{} || read.ptr != end) count = -1;
  }
  if (count < 0) throw config_error("\"" + text + "\" is not SOURCE=N", "--quotas", "give for example books=100");
  return {text.substr(0, equals), count};
}

synthesis::longalign_options make_longalign(const settings& s, const std::optional<lodestone::tokenizer>& words) {
  synthesis::longalign_options options;
  options.sample = {.count = s.document_count,
                    .length_power = s.length_power,
                    .shortest = s.shortest_document,
                    .longest = s.longest_document};
  for (const std::string& text : s.quotas) options.sample.quotas.insert(parse_quota(text));
  options.questions = make_questions(s);
  options.ask = make_asking(s);
  if (words)
    options.length = [&words](std::string_view text) {
      return static_cast<std::int64_t>(words->encode(text, false, false).size());
    };
  options.accept_failures = s.accept_failures;
  return options;
}

void tell_failures(const synthesis::ask_counts& counts, std::string_view what) {
  if (counts.done_before > 0)
    note(std::to_string(counts.done_before) + " of " + std::to_string(counts.items) + " " + std::string(what) +
         " were there already");
  if (!counts.failed.empty())
    note(std::to_string(counts.failed.size()) + " of " + std::to_string(counts.items) + " " + std::string(what) +
         " failed; the first: " + counts.failed.front().id + ": " + counts.failed.front().error);
}

/// What the run came to, and the exit status.
int tell(const settings& s, bool is_complete, bool is_meant_to_stop, const std::string& summary) {
  if (is_complete) {
    std::filesystem::path file(s.output);
    file.replace_extension(".summary.json");
    print(lodestone::read_text(file));
    return success;
  }
  print(summary + "\n");
  if (is_meant_to_stop) return success;
  note(
      "NAME.failed.jsonl lists what failed; the same command asks for it again, and with --accept-failures the output "
      "is written without it");
  return failure;
}

int make_pairs(const settings& s, const generate::any_generator& model, const lodestone::tokenizer& words,
               const std::vector<lodestone::text_document>& documents) {
  synthesis::logo_options options = make_logo(s);
  std::vector<synthesis::document_question> questions;
  if (!s.questions_file.empty()) questions = synthesis::read_questions(s.questions_file, documents);
  synthesis::imported_scores scores;
  if (!s.scores.empty()) {
    scores = synthesis::read_scores(s.scores);
    options.scores = &scores;
  }
  const synthesis::chunker cutter(
      words, {.tokens = s.chunk_tokens,
              .end = s.chunk_end == "word" ? synthesis::chunk_end::word : synthesis::chunk_end::token});
  synthesis::logo_summary summary;
  const auto run = [&] {
    summary = synthesis::make_preferences(model, words, cutter, documents, questions, options, s.output);
  };
  const settings judge = judge_settings(s);
  if (judge.model.empty() && judge.endpoint.empty()) {
    run();
  } else {
    with_generator(judge, [&](generate::any_generator& rater) {
      options.judge = &rater;
      run();
    });
  }
  tell_failures(summary.made_questions, "prompts for questions");
  tell_failures(summary.answers, "answers");
  tell_failures(summary.ratings, "ratings");
  const bool has_failed = !summary.made_questions.failed.empty() && !s.accept_failures;
  return tell(s, summary.is_complete, s.scores_only && !has_failed, summary.to_json());
}

}  // namespace

int run_synthesise(const settings& s) {
  const std::vector<lodestone::text_document> documents = lodestone::read_documents(s.documents);
  std::optional<lodestone::tokenizer> words;  // a model behind an endpoint has none here
  if (const std::string folder = s.tokenizer.empty() ? s.model : s.tokenizer; !folder.empty())
    words = lodestone::tokenizer::load(folder);
  if (s.method == "logo" && !words)
    throw config_error("is not given; chunks are tokens of the model that is trained", "--tokenizer",
                       "name its folder");
  if (!s.judge_model.empty() && !s.judge_endpoint.empty())
    throw config_error("a judge of this machine is named too", "--judge-endpoint", "give one of the two");
  int status = success;
  with_generator(s, [&](generate::any_generator& model) {
    if (s.method == "logo") {
      status = make_pairs(s, model, *words, documents);
      return;
    }
    const synthesis::longalign_summary summary =
        synthesis::make_instructions(model, documents, make_longalign(s, words), s.output);
    tell_failures(summary.made_questions, "prompts for questions");
    tell_failures(summary.answers, "answers");
    status = tell(s, summary.is_complete, false, summary.to_json());
  });
  return status;
}

}  // namespace lodestone_cli
