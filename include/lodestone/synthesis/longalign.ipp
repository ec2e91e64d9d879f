// Definitions of longalign.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/synthesis/json_record.hpp>
#include <lodestone/synthesis/longalign.hpp>
#include <lodestone/synthesis/run_settings.hpp>
#include <lodestone/synthesis/stage_files.hpp>

namespace lodestone::synthesis {

namespace detail {

/// Bytes that begin a character.
[[nodiscard]] inline std::int64_t characters_of(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

}  // namespace detail

LODESTONE_INLINE std::vector<std::size_t> sample_documents(std::span<const text_document> documents,
                                                           const sample_options& options, std::uint64_t seed,
                                                           const text_length& length, sample_counts* counts) {
  if (!(options.length_power >= 0.0) || !std::isfinite(options.length_power))
    throw config_error("must not be negative", "length_power", "0 draws all documents alike");
  if (options.count < 0) throw config_error("must not be negative", "documents_count", "0 takes all");
  sample_counts own;
  std::vector<std::pair<double, std::size_t>> keys;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    const std::int64_t size = length ? length(documents[d].text) : detail::characters_of(documents[d].text);
    if (size < options.shortest) {
      ++own.too_short;
    } else if (options.longest > 0 && size > options.longest) {
      ++own.too_long;
    } else {
      random_stream random(seed_of(seed, random_purpose::synthesis, documents[d].id), random_purpose::synthesis, 3);
      const double weight = std::pow(static_cast<double>(std::max<std::int64_t>(size, 1)), options.length_power);
      keys.emplace_back(std::log(1.0 - random.uniform()) / weight, d);  // the logarithm of u^(1 / weight)
    }
  }
  std::sort(keys.begin(), keys.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  std::map<std::string_view, std::int64_t> used;
  std::vector<std::size_t> chosen;
  for (const auto& [key, d] : keys) {
    const auto quota = options.quotas.find(documents[d].source);
    std::int64_t& so_far = used[documents[d].source];
    if (quota != options.quotas.end() && so_far >= quota->second) {
      ++own.over_quota;
    } else if (options.count > 0 && static_cast<std::int64_t>(chosen.size()) == options.count) {
      ++own.not_drawn;
    } else {
      ++so_far;
      chosen.push_back(d);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  if (counts != nullptr) *counts = own;
  return chosen;
}

namespace detail {

/// One run.
class instruction_maker {
 public:
  instruction_maker(const generate::any_generator& model, std::span<const text_document> documents,
                    const longalign_options& options, const std::filesystem::path& output)
      : model_(model), options_(options), files_(output, settings(documents)) {
    summary_.documents = static_cast<std::int64_t>(documents.size());
    for (const auto& [name, quota] : options.sample.quotas) {
      const std::string& source = name;  // which the lambda may refer to
      if (quota < 0 || std::none_of(documents.begin(), documents.end(),
                                    [&](const text_document& one) { return one.source == source; }))
        throw config_error(
            quota < 0 ? "the quota of \"" + source + "\" is negative" : "no document has the source \"" + source + "\"",
            "quotas", "name the sources of the documents");
    }
    for (const std::size_t d :
         sample_documents(documents, options.sample, options.ask.seed, options.length, &summary_.left_out))
      documents_.push_back(documents[d]);
    summary_.sampled = static_cast<std::int64_t>(documents_.size());
    if (documents_.empty())
      throw config_error("no document is left", "documents", "their lengths or sources are outside of the limits");
    tasks_ = question_tasks(documents_, options.questions, options.ask.seed);
    for (const question_task& task : tasks_) ids_.push_back(task.id);
  }

  [[nodiscard]] longalign_summary run() {
    if (files_.is_done()) {
      summary_.is_complete = true;
      return summary_;
    }
    result_log proposals = files_.open_log("proposals");
    summary_.made_questions =
        ask_for_questions(model_, documents_, tasks_, options_.questions, options_.ask, proposals);
    std::vector<failed_item> failed = summary_.made_questions.failed;
    result_log answers = files_.open_log("answers");
    summary_.answers = ask_answers(proposals, answers);
    failed.insert(failed.end(), summary_.answers.failed.begin(), summary_.answers.failed.end());
    files_.write_failed(failed);
    if (!failed.empty() && !options_.accept_failures) return summary_;
    files_.write_stage("proposals", proposals, ids_);
    files_.write_stage("answers", answers, ids_);
    write_records(answers);
    summary_.is_complete = true;
    constexpr std::string_view stages[] = {"proposals", "answers"};
    files_.finish(summary_.to_json(), stages);
    return summary_;
  }

 private:
  [[nodiscard]] std::string settings(std::span<const text_document> documents) const {
    json quotas = json::object();
    for (const auto& [source, quota] : options_.sample.quotas) quotas[source] = quota;
    json all{{"method", "longalign"},
             {"model", model_.name()},
             {"texts", fingerprint(documents)},
             {"documents", options_.sample.count},
             {"quotas", quotas},
             {"length_power", options_.sample.length_power},
             {"shortest", options_.sample.shortest},
             {"longest", options_.sample.longest},
             {"length", options_.length ? "tokens" : "characters"}};
    all.update(settings_of(options_.ask));
    all.update(settings_of(options_.questions));
    return all.dump();
  }

  /// The question of a task: one of those that the generator wrote.
  [[nodiscard]] std::string question_of(const result_log& proposals, std::size_t i) const {
    const std::vector<std::string> all = questions_of(proposals.read(ids_[i]));
    random_stream random(seed_of(options_.ask.seed, random_purpose::synthesis, ids_[i]), random_purpose::synthesis, 4);
    return all[random.below(all.size())];
  }

  [[nodiscard]] ask_counts ask_answers(const result_log& proposals, result_log& log) {
    std::vector<std::size_t> tasks;
    ask_items items;
    for (std::size_t i = 0; i < tasks_.size(); ++i)
      if (proposals.contains(ids_[i])) {
        tasks.push_back(i);
        items.ids.push_back(ids_[i]);
      }
    items.request = [&](std::size_t k) {
      generate::request request;
      request.prompt = std::vector<chat_message>{
          {chat_role::user, answer_prompt(documents_[tasks_[tasks[k]].document].text, question_of(proposals, tasks[k])),
           std::nullopt}};
      return request;
    };
    items.line = [&](std::size_t k, const generate::answer& answer) {
      return to_line({{"id", items.ids[k]},
                      {"document", documents_[tasks_[tasks[k]].document].id},
                      {"question", question_of(proposals, tasks[k])},
                      {"answer", answer.text},
                      {"finish", generate::to_string(answer.why)}});
    };
    return ask(model_, items, "answers", log, options_.ask);
  }

  void write_records(const result_log& answers) {
    std::size_t i = 0;
    stage_files::write_lines(files_.output(), [&]() -> std::string {
      for (; i < tasks_.size(); ++i) {
        if (!answers.contains(ids_[i])) continue;
        const json line = json::parse(answers.read(ids_[i]));
        const std::string answer = line.at("answer").get<std::string>();
        if (answer.find_first_not_of(" \t\r\n") == std::string::npos) {
          ++summary_.empty_answers;
          continue;
        }
        const question_task& task = tasks_[i];
        const text_document& about = documents_[task.document];
        std::string prompt = answer_prompt(about.text, line.at("question").get<std::string>());
        ++summary_.records;
        ++summary_.per_source[about.source];
        ++summary_.per_kind[std::string(to_string(task.kind))];
        ++summary_.per_language[std::string(to_string(task.tongue))];
        const std::string both = prompt + answer;
        const std::int64_t length = options_.length ? options_.length(both) : characters_of(both);
        ++i;
        return to_line({{"messages", json::array({json{{"role", "user"}, {"content", std::move(prompt)}},
                                                  json{{"role", "assistant"}, {"content", answer}}})},
                        {"length", length},
                        {"id", task.id},
                        {"source", about.source},
                        {"kind", to_string(task.kind)},
                        {"language", to_string(task.tongue)}});
      }
      return {};
    });
  }

  const generate::any_generator& model_;
  const longalign_options& options_;
  stage_files files_;
  longalign_summary summary_;
  std::vector<text_document> documents_;
  std::vector<question_task> tasks_;
  std::vector<std::string> ids_;
};

}  // namespace detail

LODESTONE_INLINE std::string longalign_summary::to_json() const {
  using detail::json;
  const auto table = [](const std::map<std::string, std::int64_t>& counts) {
    json object = json::object();
    for (const auto& [key, count] : counts) object[key] = count;
    return object;
  };
  return json{{"documents", documents},
              {"sampled", sampled},
              {"too_short", left_out.too_short},
              {"too_long", left_out.too_long},
              {"over_quota", left_out.over_quota},
              {"not_drawn", left_out.not_drawn},
              {"asked_questions", detail::counts_of(made_questions)},
              {"asked_answers", detail::counts_of(answers)},
              {"empty_answers", empty_answers},
              {"records", records},
              {"per_source", table(per_source)},
              {"per_kind", table(per_kind)},
              {"per_language", table(per_language)},
              {"complete", is_complete}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

LODESTONE_INLINE longalign_summary make_instructions(const generate::any_generator& model,
                                                     std::span<const text_document> documents,
                                                     const longalign_options& options,
                                                     const std::filesystem::path& output) {
  return detail::instruction_maker(model, documents, options, output).run();
}

}  // namespace lodestone::synthesis
