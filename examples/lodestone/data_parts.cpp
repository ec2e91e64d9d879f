#include "data_parts.hpp"

#include <algorithm>
#include <memory>
#include <string_view>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/data/mixture.hpp>
#include <lodestone/data/token_store.hpp>
#include <lodestone/text/chat_families.hpp>
#include <lodestone/text/chat_program.hpp>
#include <lodestone/text/special_tokens.hpp>
#include <lodestone/train/recorders/format.hpp>

#include "commands.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

namespace fs = std::filesystem;

lodestone::chat_template make_template(const settings& s, const lodestone::special_tokens& specials,
                                       const lodestone::tokenizer& tokenizer) {
  if (s.template_name == "custom") {
    const template_strings& t = s.custom_template;
    lodestone::chat_template form;
    form.begin = t.begin;
    form.system_prefix = t.system_prefix;
    form.system_suffix = t.system_suffix;
    form.user_prefix = t.user_prefix;
    form.user_suffix = t.user_suffix;
    form.assistant_prefix = t.assistant_prefix;
    form.assistant_suffix = t.assistant_suffix;
    form.turn_separator = t.turn_separator;
    form.end_token = t.end_token;
    form.default_system = t.default_system;
    form.system_in_user_turn = t.system_in_user_turn;
    form.trim = t.trim;
    return form;
  }
  const lodestone::chat_program_options options{{}, s.template_values, s.template_date};
  const std::string_view name = s.template_name;
  if (name == "auto") {
    lodestone::chat_choice choice = lodestone::choose_chat_template(
        specials, [&](std::string_view token) { return tokenizer.id_of(token).has_value(); }, options);
    if (!choice.note.empty()) note("warning: " + choice.note);
    return std::move(choice.form);
  }
  constexpr std::string_view rendered = "rendered";
  if (name == rendered) return lodestone::rendered_template(specials, {}, options);
  if (name.starts_with("rendered:"))
    return lodestone::rendered_template(specials, name.substr(rendered.size() + 1), options);
  if (name.ends_with(".jinja")) {
    lodestone::chat_program_options own = options;
    own.tokens = specials.texts;
    return lodestone::rendered_template(
        std::make_shared<const lodestone::chat_program>(lodestone::read_text(fs::path(name)), s.template_name, own));
  }
  return lodestone::find_chat_template(name);
}

lodestone::chat_encoding make_encoding(const settings& s, bool end_of_text) {
  lodestone::chat_encoding options;
  options.targets = detail::pick<lodestone::target_choice>(s.targets,
                                                           {{"all-answers", lodestone::target_choice::all_answers},
                                                            {"last-answer", lodestone::target_choice::last_answer},
                                                            {"all-tokens", lodestone::target_choice::all_tokens}},
                                                           "targets");
  options.joint = s.joint == "separate" ? lodestone::piece_joint::separate : lodestone::piece_joint::continuous;
  options.content = s.content == "parse" ? lodestone::content_tokens::parse : lodestone::content_tokens::literal;
  options.original_end_labels = s.original_end_labels;
  options.end_of_text = end_of_text;
  return options;
}

fs::path folder_of(const fs::path& model) { return fs::is_directory(model) ? model : model.parent_path(); }

}  // namespace

text_parts::text_parts(const settings& s, bool end_of_text) : tokenizer_(lodestone::tokenizer::load(s.model)) {
  const lodestone::special_tokens specials = lodestone::read_special_tokens(folder_of(s.model));
  lodestone::chat_template form;
  try {
    form = make_template(s, specials, tokenizer_);
  } catch (const lodestone::config_error& failure) {
    if (s.template_name != "auto") throw;
    no_template_ = failure.what();
    form.end_token.clear();
  }
  encoder_ = std::make_unique<lodestone::chat_encoder<lodestone::tokenizer>>(tokenizer_, std::move(form),
                                                                             make_encoding(s, end_of_text), specials);
}

void text_parts::require_template() const {
  if (!no_template_.empty()) throw lodestone::config_error(no_template_);
}

lodestone::prepare_options make_prepare_options(const settings& s) {
  lodestone::prepare_options options;
  options.seed = static_cast<std::uint64_t>(s.seed);
  lodestone::example_options& example = options.example;
  example.record.join_turns = s.join_turns;
  example.record.strip_zero_width = s.strip_zero_width;
  example.length.max_tokens = s.max_tokens;
  example.length.action = lodestone::parse_over_long(s.over_long);
  example.length.keep_answers = s.keep_answers;
  example.record.plain = s.plain_prompt == "chat" ? lodestone::plain_prompt::chat : lodestone::plain_prompt::text;
  example.preference.score_header = s.score_header;
  example.preference.context_form = s.context_form;
  example.preference.chunk_separator = s.chunk_separator;
  example.no_targets = detail::pick<lodestone::no_target_policy>(s.no_targets,
                                                                 {{"error", lodestone::no_target_policy::error},
                                                                  {"drop", lodestone::no_target_policy::drop},
                                                                  {"keep", lodestone::no_target_policy::keep}},
                                                                 "no_targets");
  example.faults = s.faults == "skip" ? lodestone::fault_policy::skip : lodestone::fault_policy::error;
  return options;
}

std::vector<lodestone::data_source> make_sources(const std::vector<data_source>& sources) {
  std::vector<lodestone::data_source> out;
  out.reserve(sources.size());
  for (const data_source& source : sources)
    out.push_back({source.path, lodestone::parse_data_format(source.format), source.count, source.weight});
  return out;
}

bool is_token_store(const fs::path& name) {
  if (!fs::is_regular_file(name) || name.extension() == ".jsonl" || name.extension() == ".json") return false;
  try {
    const lodestone::safetensors::file file(name);
    const auto format = file.metadata().find("format");
    return format != file.metadata().end() && format->second == lodestone::token_store_format;
  } catch (const lodestone::format_error&) {
    return false;
  }
}

any_store load_examples(const std::vector<data_source>& sources, const settings& s, const text_parts& text,
                        std::int64_t model_vocabulary, lodestone::thread_pool& pool, std::string_view what,
                        lodestone::data_summary* summary, answers wanted) {
  const lodestone::prepare_options options = make_prepare_options(s);
  lodestone::data_summary counts;
  any_store examples;
  const auto encode = [&](std::span<const lodestone::data_source> some) {
    auto store = std::make_shared<lodestone::in_memory_store>();
    const lodestone::data_summary own = lodestone::prepare(some, text.encoder(), options, *store, pool);
    if (own.conversations > 0) text.require_template();
    counts.add(own);
    return std::shared_ptr<const lodestone::in_memory_store>(std::move(store));
  };
  const std::vector<lodestone::data_source> all = make_sources(sources);
  const bool has_stores = std::ranges::any_of(all, [](const auto& source) { return is_token_store(source.path); });
  if (!has_stores) {
    examples.add(encode(all));  // counts and weights choose among records
  } else {
    // Counts and weights choose among examples and groups, which is the same where every record gives one.
    std::vector<lodestone::mixture_part> parts;
    std::vector<std::int64_t> ends;
    for (lodestone::data_source source : all) {
      const auto [count, weight] = std::pair(source.count, source.weight);
      if (is_token_store(source.path)) {
        auto store = std::make_shared<const lodestone::token_store>(source.path);
        store->require_tokenizer(lodestone::tokenizer_fingerprint(text.tokenizer()));
        store->verify(model_vocabulary);
        examples.add(std::move(store));
      } else {
        source.count.reset();
        source.weight.reset();
        examples.add(encode({&source, 1}));
      }
      parts.push_back({0, count, weight});
      ends.push_back(examples.size());
    }
    if (std::ranges::any_of(parts, [](const auto& part) { return part.count || part.weight; })) {
      const std::vector<std::int64_t> units = lodestone::unit_begins(examples);
      std::int64_t before = 0;
      for (std::size_t p = 0; p < parts.size(); ++p) {
        const std::int64_t end = std::ranges::lower_bound(units, ends[p]) - units.begin();
        parts[p].size = end - before;
        before = end;
      }
      examples.select(lodestone::examples_of(units, lodestone::mixture_indices(parts, options.seed)));
    }
  }
  if (wanted == answers::chosen)
    if (const std::int64_t rejected = examples.keep_chosen(); rejected > 0)
      note(std::string(what) + ": " + lodestone::format_count(rejected) + " rejected answers are left out");
  if (examples.size() == 0)
    throw lodestone::data_error("no example is left", sources.front().path, "see the counts: \n" + counts.to_text());
  if (text.tokenizer().vocabulary_size() > model_vocabulary)
    for (std::int64_t i = 0; i < examples.size(); ++i)
      for (const std::int32_t id : examples[i].tokens)
        if (id >= model_vocabulary)
          throw lodestone::config_error("the tokenizer gives the id " + std::to_string(id) + ", the model has " +
                                            std::to_string(model_vocabulary) + " rows",
                                        s.model, "put the tokenizer of this model into its folder");
  if (counts.records > 0)
    note(std::string(what) + ": " + lodestone::format_count(counts.records) + " records, " +
         lodestone::format_count(examples.size()) + " examples, " + lodestone::format_count(counts.tokens) +
         " tokens, " + lodestone::format_count(counts.targets) + " targets");
  else
    note(std::string(what) + ": " + lodestone::format_count(examples.size()) + " examples from a store");
  if (summary != nullptr)
    *summary = counts;
  else
    for (const std::string& warning : counts.warnings()) note("warning: " + warning);
  return examples;
}

}  // namespace lodestone_cli
