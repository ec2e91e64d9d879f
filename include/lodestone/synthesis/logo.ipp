// Definitions of logo.hpp: included by it, or compiled once into lodestone::compiled.
// More than 400 lines: the stages of one run share its files, its log and its counts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/eval/judge_rating.hpp>
#include <lodestone/synthesis/json_record.hpp>
#include <lodestone/synthesis/logo.hpp>
#include <lodestone/synthesis/run_settings.hpp>
#include <lodestone/synthesis/stage_files.hpp>

namespace lodestone::synthesis {

namespace detail {

struct form_pieces {
  std::string before, between, after;
  bool is_question_first = false;
};

/// Cuts a form at {context} and {question}. Throws config_error unless it holds each once.
[[nodiscard]] inline form_pieces pieces_of(std::string_view form) {
  constexpr std::string_view context = "{context}", question = "{question}";
  for (const std::string_view mark : {context, question}) {
    const std::size_t at = form.find(mark);
    if (at == std::string_view::npos || form.find(mark, at + 1) != std::string_view::npos)
      throw config_error("must hold " + std::string(mark) + " once", "context_form",
                         "write for example \"{context}\\n\\n{question}\"");
  }
  form_pieces pieces;
  pieces.is_question_first = form.find(question) < form.find(context);
  const std::string_view first = pieces.is_question_first ? question : context;
  const std::string_view second = pieces.is_question_first ? context : question;
  const std::size_t a = form.find(first), b = form.find(second);
  pieces.before = form.substr(0, a);
  pieces.between = form.substr(a + first.size(), b - a - first.size());
  pieces.after = form.substr(b + second.size());
  return pieces;
}

/// One run.
class preference_maker {
 public:
  preference_maker(const generate::any_generator& model, const tokenizer& words, const chunker& cutter,
                   std::span<const text_document> documents, std::span<const document_question> questions,
                   const logo_options& options, const std::filesystem::path& output)
      : model_(model),
        words_(words),
        cutter_(cutter),
        documents_(documents),
        questions_(questions.begin(), questions.end()),
        options_(options),
        form_(pieces_of(options.context_form)),
        files_(output, settings()) {
    check(options.select);
  }

  [[nodiscard]] logo_summary run() {
    if (files_.is_done()) {
      summary_.is_complete = true;
      return summary_;
    }
    summary_.documents = static_cast<std::int64_t>(documents_.size());
    for (std::size_t d = 0; d < documents_.size(); ++d) number_of_[documents_[d].id] = d;
    cut();
    if (!ask_questions()) return stop();
    score();
    if (options_.only_scores) return stop();
    result_log answers = files_.open_log("answers");
    summary_.answers = ask_answers(answers);
    failed_.insert(failed_.end(), summary_.answers.failed.begin(), summary_.answers.failed.end());
    if (!may_go_on(summary_.answers)) return stop();
    std::optional<result_log> ratings;
    if (options_.judge != nullptr) {
      ratings.emplace(files_.open_log("ratings"));
      summary_.ratings = ask_ratings(answers, *ratings);
      failed_.insert(failed_.end(), summary_.ratings.failed.begin(), summary_.ratings.failed.end());
      if (!may_go_on(summary_.ratings)) return stop();
    }
    files_.write_failed(failed_);
    files_.write_stage("answers", answers, answer_ids_);
    if (ratings) files_.write_stage("ratings", *ratings, rated_ids_);
    write_pairs(answers, ratings ? &*ratings : nullptr);
    summary_.is_complete = true;
    constexpr std::string_view stages[] = {"proposals", "answers", "ratings"};
    files_.finish(summary_.to_json(), stages);
    return summary_;
  }

 private:
  /// Role 0 is the preferred answer, j the dis-preferred answer j.
  struct item {
    std::size_t question;
    std::size_t role;
  };

  [[nodiscard]] std::string settings() const {
    const selection_options& select = options_.select;
    json all{{"method", "logo"},
             {"model", model_.name()},
             {"texts", fingerprint(documents_, questions_)},
             {"selection", to_string(select.rule)},
             {"threshold", select.threshold},
             {"important_chunks", select.important},
             {"least_score", select.least},
             {"context_chunks", select.context},
             {"rejected_answers", select.rejected},
             {"chunk_tokens", cutter_.options().tokens},
             {"chunk_end", cutter_.options().end == chunk_end::word ? "word" : "token"},
             {"context_form", options_.context_form},
             {"chunk_separator", options_.chunk_separator},
             {"prompt", options_.prompt == prompt_kind::chat   ? "chat"
                        : options_.prompt == prompt_kind::text ? "text"
                                                               : "tokens"},
             {"common_words", options_.common_words},
             {"score_answers", options_.score_answers},
             {"least_metric", options_.filter.least},
             {"judge", options_.judge == nullptr ? "" : options_.judge->name()}};
    all.update(settings_of(options_.ask));
    if (questions_.empty()) all.update(settings_of(options_.questions));
    if (options_.scores != nullptr) {
      std::uint64_t value = 0;
      for (const auto& [id, scores] : *options_.scores) value = combined(value, {id, json(scores).dump()});
      all["scores"] = std::to_string(value);
    }
    return all.dump();
  }

  void cut() {
    for (const text_document& one : documents_) {
      chunks_.push_back(cutter_.cut(one.text));
      std::vector<std::string>& texts = texts_.emplace_back();
      for (const token_chunk& chunk : chunks_.back()) {
        texts.push_back(chunk.text);
        ++summary_.chunks;
        if (!chunk.is_exact) ++summary_.inexact_chunks;
      }
    }
    std::size_t d = 0, k = 0;
    stage_files::write_lines(files_.stage("chunks"), [&]() -> std::string {
      while (d < chunks_.size() && k == chunks_[d].size()) {
        ++d;
        k = 0;
      }
      if (d == chunks_.size()) return {};
      const token_chunk& chunk = chunks_[d][k];
      return to_line({{"document", documents_[d].id},
                      {"chunk", k++},
                      {"begin", chunk.begin},
                      {"tokens", chunk.ids},
                      {"exact", chunk.is_exact},
                      {"text", chunk.text}});
    });
  }

  /// Questions as the user gave them, or made now; false when some could not be made.
  [[nodiscard]] bool ask_questions() {
    if (questions_.empty()) {
      const std::vector<question_task> tasks = question_tasks(documents_, options_.questions, options_.ask.seed);
      result_log log = files_.open_log("proposals");
      summary_.made_questions = ask_for_questions(model_, documents_, tasks, options_.questions, options_.ask, log);
      failed_ = summary_.made_questions.failed;
      if (!may_go_on(summary_.made_questions)) return false;
      std::vector<std::string> ids;
      for (const question_task& task : tasks) {
        ids.push_back(task.id);
        if (!log.contains(task.id)) continue;
        std::int64_t number = 0;
        for (std::string& question : questions_of(log.read(task.id)))
          questions_.push_back(
              {task.id + "/" + std::to_string(++number), documents_[task.document].id, std::move(question), {}, {}});
      }
      files_.write_stage("proposals", log, ids);
    }
    for (const document_question& one : questions_) {
      const auto found = number_of_.find(one.document);
      if (found == number_of_.end())
        throw data_error(
            "the question \"" + one.id + "\" is about the document \"" + one.document + "\", which is not there",
            one.where, "name one of the documents");
      document_of_.push_back(found->second);
    }
    summary_.questions = static_cast<std::int64_t>(questions_.size());
    std::size_t q = 0;
    stage_files::write_lines(files_.stage("questions"), [&]() -> std::string {
      if (q == questions_.size()) return {};
      const document_question& one = questions_[q++];
      json line{{"id", one.id}, {"document", one.document}, {"question", one.question}};
      if (!one.answer.empty()) line["answer"] = one.answer;
      return to_line(line);
    });
    return true;
  }

  void score() {
    std::optional<shared_features> own;
    if (options_.scores == nullptr) own.emplace(texts_, options_.common_words, options_.score_answers);
    for (std::size_t q = 0; q < questions_.size(); ++q) {
      const std::vector<std::string>& texts = texts_[document_of_[q]];
      if (own) {
        scores_.push_back(own->score(questions_[q].question, questions_[q].answer, texts));
      } else {
        const auto found = options_.scores->find(questions_[q].id);
        if (found == options_.scores->end())
          throw data_error("the scores lack the question \"" + questions_[q].id + "\"", questions_[q].where,
                           "score every question");
        if (found->second.size() != texts.size())
          throw data_error("the question \"" + questions_[q].id + "\" has " + std::to_string(found->second.size()) +
                               " scores, its document " + std::to_string(texts.size()) + " chunks",
                           questions_[q].where, "score the chunks of " + files_.stage("chunks").string());
        scores_.push_back(found->second);
      }
      chosen_.push_back(
          select_chunks(scores_[q], options_.select,
                        random_stream(seed_of(options_.ask.seed, random_purpose::synthesis, questions_[q].id),
                                      random_purpose::synthesis, 2)));
      if (chosen_[q])
        summary_.important += static_cast<std::int64_t>(chosen_[q]->important.size());
      else
        ++summary_.unimportant;
    }
    std::size_t q = 0;
    stage_files::write_lines(files_.stage("scores"), [&]() -> std::string {
      if (q == questions_.size()) return {};
      json line{{"id", questions_[q].id}, {"document", questions_[q].document}, {"scores", scores_[q]}};
      if (chosen_[q]) {
        line["preferred"] = chosen_[q]->preferred;
        line["rejected"] = chosen_[q]->rejected;
        line["context"] = chosen_[q]->context;
      }
      ++q;
      return to_line(line);
    });
  }

  [[nodiscard]] static std::string answer_id(const document_question& question, std::size_t role) {
    return question.id + (role == 0 ? std::string("/chosen") : "/rejected-" + std::to_string(role));
  }

  [[nodiscard]] const std::vector<std::int64_t>& shown(const item& one) const {
    return one.role == 0 ? chosen_[one.question]->preferred : chosen_[one.question]->rejected[one.role - 1];
  }

  [[nodiscard]] generate::prompt_input prompt_for(const item& one) const {
    const std::size_t d = document_of_[one.question];
    const std::string& question = questions_[one.question].question;
    if (options_.prompt == prompt_kind::tokens) return prompt_ids(shown(one), d, question);
    std::string context;
    for (const std::int64_t k : shown(one))
      context += (context.empty() ? "" : options_.chunk_separator) + texts_[d][static_cast<std::size_t>(k)];
    const std::string& first = form_.is_question_first ? question : context;
    const std::string& second = form_.is_question_first ? context : question;
    std::string text = form_.before + first + form_.between + second + form_.after;
    if (options_.prompt == prompt_kind::text) return text;
    return std::vector<chat_message>{{chat_role::user, std::move(text), std::nullopt}};
  }

  /// The ids of the chunks as they are. Control tokens that the form spells out are meant; in a question they are text.
  [[nodiscard]] std::vector<std::int32_t> prompt_ids(const std::vector<std::int64_t>& numbers, std::size_t d,
                                                     const std::string& question) const {
    std::vector<std::int32_t> ids = words_.prefix();
    const auto add = [&](const std::vector<std::int32_t>& more) { ids.insert(ids.end(), more.begin(), more.end()); };
    const auto add_form = [&](const std::string& text) {
      if (!text.empty()) add(words_.encode(text, false, true));
    };
    const auto add_context = [&] {
      bool is_first = true;
      for (const std::int64_t k : numbers) {
        if (!std::exchange(is_first, false)) add_form(options_.chunk_separator);
        add(chunks_[d][static_cast<std::size_t>(k)].ids);
      }
    };
    add_form(form_.before);
    form_.is_question_first ? add(cutter_.encode(question)) : add_context();
    add_form(form_.between);
    form_.is_question_first ? add_context() : add(cutter_.encode(question));
    add_form(form_.after);
    return ids;
  }

  [[nodiscard]] ask_counts ask_answers(result_log& log) {
    std::vector<item> all;
    ask_items items;
    for (std::size_t q = 0; q < questions_.size(); ++q)
      for (std::size_t role = 0; chosen_[q] && role <= chosen_[q]->rejected.size(); ++role) {
        all.push_back({q, role});
        items.ids.push_back(answer_id(questions_[q], role));
      }
    items.request = [&](std::size_t i) {
      generate::request request;
      request.prompt = prompt_for(all[i]);
      return request;
    };
    items.line = [&](std::size_t i, const generate::answer& answer) {
      return to_line({{"id", items.ids[i]},
                      {"question", questions_[all[i].question].id},
                      {"role", all[i].role == 0 ? "chosen" : "rejected"},
                      {"chunks", shown(all[i])},
                      {"answer", answer.text},
                      {"finish", generate::to_string(answer.why)}});
    };
    answer_ids_ = items.ids;
    return ask(model_, items, "answers", log, options_.ask);
  }

  [[nodiscard]] ask_counts ask_ratings(const result_log& answers, result_log& log) {
    std::vector<std::size_t> question;
    ask_items items;
    for (std::size_t q = 0; q < questions_.size(); ++q)
      for (std::size_t role = 0; chosen_[q] && role <= chosen_[q]->rejected.size(); ++role)
        if (const std::string id = answer_id(questions_[q], role); answers.contains(id)) {
          items.ids.push_back(id);
          question.push_back(q);
        }
    items.request = [&](std::size_t i) {
      const document_question& asked = questions_[question[i]];
      generate::request request;
      request.prompt = rating_prompt(asked.question, asked.answer, text_of(answers, items.ids[i]));
      return request;
    };
    items.line = [&](std::size_t i, const generate::answer& reply) -> std::string {
      const std::optional<double> rating = eval::last_bracketed_rating(reply.text);
      if (!rating) return {};
      return to_line({{"id", items.ids[i]}, {"rating", *rating}, {"reply", reply.text}});
    };
    rated_ids_ = items.ids;
    ask_options how = options_.ask;
    how.stop.clear();
    how.min_new_tokens = 0;
    how.max_new_tokens = 512;  // a sentence and a number
    how.draw = {};             // the most likely rating
    return ask(*options_.judge, items, "ratings", log, how);
  }

  [[nodiscard]] static std::string text_of(const result_log& answers, const std::string& id) {
    return json::parse(answers.read(id)).at("answer").get<std::string>();
  }

  void write_pairs(const result_log& answers, const result_log* ratings) {
    double rejected_sum = 0.0;
    std::int64_t with_gold = 0, rejected_with_gold = 0;
    std::size_t q = 0;
    stage_files::write_lines(files_.output(), [&]() -> std::string {
      for (; q < questions_.size(); ++q) {
        if (!chosen_[q]) continue;
        candidate_answers all{.question = questions_[q].question, .gold = questions_[q].answer};
        bool is_whole = true;
        const auto rating_of = [&](const std::string& id) -> std::optional<double> {
          if (!ratings->contains(id)) return std::nullopt;
          return json::parse(ratings->read(id)).at("rating").get<double>();
        };
        for (std::size_t role = 0; is_whole && role <= chosen_[q]->rejected.size(); ++role) {
          const std::string id = answer_id(questions_[q], role);
          is_whole = answers.contains(id);
          if (!is_whole) break;
          (role == 0 ? all.preferred : all.rejected.emplace_back()) = text_of(answers, id);
          if (ratings == nullptr) continue;
          (role == 0 ? all.preferred_rating : all.rejected_ratings.emplace_back()) = rating_of(id);
        }
        if (!is_whole) {
          ++summary_.unanswered;
          continue;
        }
        if (options_.filter.metric && !all.gold.empty()) {
          summary_.preferred_metric += options_.filter.metric(all.preferred, all.gold);
          ++with_gold;
          for (const std::string& one : all.rejected) rejected_sum += options_.filter.metric(one, all.gold);
          rejected_with_gold += static_cast<std::int64_t>(all.rejected.size());
        }
        const std::vector<std::size_t> kept = worse_answers(all, options_.filter, summary_.drops);
        if (kept.empty()) continue;
        ++summary_.pairs;
        summary_.rejected += static_cast<std::int64_t>(kept.size());
        return pair_line(q++, all, kept);
      }
      return {};
    });
    if (with_gold > 0) summary_.preferred_metric /= static_cast<double>(with_gold);
    if (rejected_with_gold > 0) summary_.rejected_metric = rejected_sum / static_cast<double>(rejected_with_gold);
  }

  [[nodiscard]] std::string pair_line(std::size_t q, const candidate_answers& all,
                                      const std::vector<std::size_t>& kept) const {
    const selection& chosen = *chosen_[q];
    json context = json::array(), rejected = json::array();
    for (const std::int64_t k : chosen.context) context.push_back(texts_[document_of_[q]][static_cast<std::size_t>(k)]);
    for (const std::size_t j : kept) rejected.push_back(all.rejected[j]);
    json line{{"id", questions_[q].id},        {"document", questions_[q].document},
              {"context", std::move(context)}, {"question", questions_[q].question},
              {"chosen", all.preferred},       {"rejected", std::move(rejected)},
              {"chunks", chosen.context},      {"important", chosen.preferred}};
    if (!all.gold.empty()) line["answer"] = all.gold;
    return to_line(line);
  }

  /// Whether nothing failed, or what failed may be left out.
  [[nodiscard]] bool may_go_on(const ask_counts& counts) const {
    return counts.failed.empty() || options_.accept_failures;
  }

  [[nodiscard]] logo_summary stop() {
    files_.write_failed(failed_);
    return summary_;
  }

  const generate::any_generator& model_;
  const tokenizer& words_;
  const chunker& cutter_;
  std::span<const text_document> documents_;
  std::vector<document_question> questions_;
  const logo_options& options_;
  form_pieces form_;
  stage_files files_;
  logo_summary summary_;
  std::map<std::string_view, std::size_t> number_of_;
  std::vector<std::vector<token_chunk>> chunks_;  // of each document
  std::vector<std::vector<std::string>> texts_;
  std::vector<std::size_t> document_of_;  // of each question
  std::vector<std::vector<double>> scores_;
  std::vector<std::optional<selection>> chosen_;
  std::vector<std::string> answer_ids_, rated_ids_;
  std::vector<failed_item> failed_;
};

}  // namespace detail

LODESTONE_INLINE std::string logo_summary::to_json() const {
  detail::json text{
      {"documents", documents},
      {"chunks", chunks},
      {"inexact_chunks", inexact_chunks},
      {"questions", questions},
      {"unimportant", unimportant},
      {"important_chunks_per_question",
       questions == unimportant ? 0.0 : static_cast<double>(important) / static_cast<double>(questions - unimportant)},
      {"unanswered", unanswered},
      {"empty_preferred", drops.empty_preferred},
      {"poor_preferred", drops.poor_preferred},
      {"empty_rejected", drops.empty_rejected},
      {"equal", drops.equal},
      {"not_worse", drops.not_worse},
      {"not_rated_worse", drops.not_rated_worse},
      {"none_left", drops.none_left},
      {"pairs", pairs},
      {"rejected", rejected},
      {"preferred_metric", preferred_metric},
      {"rejected_metric", rejected_metric},
      {"asked_questions", detail::counts_of(made_questions)},
      {"asked_answers", detail::counts_of(answers)},
      {"asked_ratings", detail::counts_of(ratings)},
      {"complete", is_complete}};
  return text.dump();
}

LODESTONE_INLINE logo_summary make_preferences(const generate::any_generator& model, const tokenizer& words,
                                               const chunker& cutter, std::span<const text_document> documents,
                                               std::span<const document_question> questions,
                                               const logo_options& options, const std::filesystem::path& output) {
  return detail::preference_maker(model, words, cutter, documents, questions, options, output).run();
}

}  // namespace lodestone::synthesis
