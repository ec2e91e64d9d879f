// Definitions of chat_program.hpp: included by it, or compiled once into lodestone::compiled. A little more than
// 400 lines, because writing conversations and finding their answers belong together.
#pragma once

#include <algorithm>
#include <charconv>
#include <ctime>
#include <optional>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/chat_program.hpp>
#include <lodestone/text/jinja_interpreter.hpp>

namespace lodestone {

// Of chat_families.hpp, which may be the header that is including this file: it comes at the end.
[[nodiscard]] std::string chat_template_names();
[[nodiscard]] chat_template detect_chat_template(std::string_view template_text,
                                                 const std::function<bool(std::string_view)>& has_token);

namespace detail {

/// "2024-07-26" as strftime() takes it; config_error otherwise.
[[nodiscard]] inline std::tm parse_date(std::string_view date) {
  std::tm result{};
  const auto number = [&](std::size_t at, std::size_t count, int least, int most) {
    int value = -1;
    const char* begin = date.data() + std::min(at, date.size());
    const char* end = date.data() + std::min(at + count, date.size());
    if (std::from_chars(begin, end, value).ptr != end || value < least || value > most)
      throw config_error("'" + std::string(date) + "' is no date", "template_date", "write for example 2024-07-26");
    return value;
  };
  if (date.size() != 10 || date[4] != '-' || date[7] != '-') (void)number(0, 0, 0, -1);
  result.tm_year = number(0, 4, 1900, 9999) - 1900;
  result.tm_mon = number(5, 2, 1, 12) - 1;
  result.tm_mday = number(8, 2, 1, 31);
  result.tm_isdst = -1;
  (void)std::mktime(&result);  // finds the day of the week
  return result;
}

[[nodiscard]] inline bool is_blank(std::string_view text) { return trimmed(text).empty(); }

/// A short piece of text around a place, for messages.
[[nodiscard]] inline std::string excerpt(std::string_view text, std::size_t at) {
  const std::size_t begin = at < 20 ? 0 : at - 20;
  std::string result = at >= text.size() ? "the end behind \"" : "\"";
  for (const char c : text.substr(begin, 50)) {
    if (c == '\n')
      result += "\\n";
    else
      result += c;
  }
  return result + "\"";
}

}  // namespace detail

LODESTONE_INLINE chat_program::chat_program(std::string source, std::string name, chat_program_options options)
    : source_(std::move(source)), name_(std::move(name)), options_(std::move(options)) {
  program_ = std::make_shared<const jinja::program>(jinja::parse(source_, name_));
  if (!options_.date.empty()) (void)detail::parse_date(options_.date);
  if (!options_.values.empty()) {
    const jinja::value values = jinja::parse_json(options_.values, "template_values");
    if (!values.is(jinja::kind::dict))
      throw config_error("not a JSON object", "template_values", "write for example {\"enable_thinking\": false}");
    for (const char* key : {"tools", "documents", "messages"})
      if (values.entries().find(std::string_view(key)) != nullptr)
        throw config_error(std::string("'") + key + "' cannot be given to a template", "template_values",
                           "write it into the messages");
  }
  const std::string question = "lodestone question";
  const std::string answer = "lodestone answer";
  std::vector<chat_message> talk{{chat_role::user, question}, {chat_role::assistant, answer}};
  std::string refusal;
  for (const bool has_system : {false, true}) {
    if (has_system) talk.insert(talk.begin(), {chat_role::system, "lodestone rules"});
    try {
      const chat_text written = write(talk, false);
      const auto holds = [&](std::int32_t message) {
        return std::any_of(written.contents.begin(), written.contents.end(),
                           [&](const chat_span& span) { return span.message == message; });
      };
      const auto last = static_cast<std::int32_t>(talk.size()) - 1;
      if (!holds(last - 1) || !holds(last)) continue;
      ending_ = written.text.substr(written.contents.back().end);
      return;
    } catch (const data_error& failure) {
      if (refusal.empty()) refusal = std::string(" (") + failure.what() + ")";
    }
  }
  throw jinja::template_error("the chat template does not write a question and its answer" + refusal, name_,
                              "name one of: " + chat_template_names());
}

LODESTONE_INLINE bool chat_program::marks_answers() const { return program_->has_generation; }

LODESTONE_INLINE std::string chat_program::describe() const {
  std::string text = source_;
  for (const auto& [name, token] : options_.tokens) text += "\n" + name + "=" + token;
  return text + "\nvalues=" + options_.values + "\ndate=" + options_.date;
}

LODESTONE_INLINE chat_text chat_program::write(std::span<const chat_message> messages, bool opens_answer,
                                               std::string_view where) const {
  std::vector<jinja::value> talk;
  talk.reserve(messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i)
    talk.push_back(
        jinja::value::dict({{"role", std::string(to_string(messages[i].role))},
                            {"content", jinja::value::data(messages[i].content, static_cast<std::int32_t>(i))}}));
  std::vector<std::pair<std::string, jinja::value>> values{{"messages", jinja::value::list(std::move(talk))},
                                                           {"add_generation_prompt", opens_answer},
                                                           {"tools", jinja::value::none()},
                                                           {"documents", jinja::value::none()}};
  for (const auto& [name, token] : options_.tokens) values.emplace_back(name, token);
  if (!options_.values.empty()) {
    const jinja::value further = jinja::parse_json(options_.values, "template_values");
    for (const auto& [name, what] : further.entries().entries) values.emplace_back(name.string().bytes(), what);
  }
  jinja::environment around;
  if (!options_.date.empty()) around.now = [&] { return detail::parse_date(options_.date); };
  try {
    jinja::rendering result = jinja::run(*program_, values, around);
    chat_text written;
    for (const jinja::mark& one : result.output.marks()) written.contents.push_back({one.begin, one.end, one.source});
    for (const jinja::range& one : result.generated) written.generated.push_back({one.begin, one.end, -1});
    written.text = result.output.bytes();
    return written;
  } catch (const jinja::template_refusal& refusal) {
    throw data_error(std::string("the chat template refuses the conversation: ") + refusal.what(), where,
                     "change the messages, or name a built-in template");
  } catch (const jinja::template_error& failure) {
    throw data_error(std::string("the chat template fails: ") + failure.what(), where,
                     "name one of: " + chat_template_names());
  }
}

LODESTONE_INLINE chat_template rendered_template(std::shared_ptr<const chat_program> program) {
  chat_template form;
  form.name = "rendered";
  form.program = std::move(program);
  return form;
}

namespace detail {

[[nodiscard]] inline chat_program_options with_tokens(chat_program_options options, const special_tokens& specials) {
  if (options.tokens.empty()) options.tokens = specials.texts;
  return options;
}

/// Whether a program and a family write the same, but for the first token, which the encoder takes care of, and blanks
/// at the end. Contents have blanks at their ends, since some formats trim them.
[[nodiscard]] inline bool writes_the_same(const chat_program& program, const chat_template& form) {
  const std::vector<chat_message> talk{{chat_role::system, " Rules\n"},
                                       {chat_role::user, " A question?\n"},
                                       {chat_role::assistant, " Reply \n"},
                                       {chat_role::user, "More \n\n of it"},
                                       {chat_role::assistant, "Done."}};
  const auto plain = [&](std::string_view text) {
    if (text.starts_with(form.begin)) text.remove_prefix(form.begin.size());
    const std::size_t end = text.find_last_not_of(" \n");
    return std::string(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
  };
  const auto agrees = [&](std::span<const chat_message> messages) {
    std::string written;
    try {
      written = program.write(messages, false).text;
    } catch (const data_error&) {
      return messages[0].role == chat_role::system;  // a format that refuses system messages
    }
    return plain(written) == plain(to_text(render(form, messages)));
  };
  const std::span<const chat_message> all = talk;
  try {
    const std::string prompt = program.write(all.subspan(1, 3), true).text;
    return agrees(all.subspan(1)) && agrees(all) &&
           plain(prompt) == plain(to_text(render_prompt(form, all.subspan(1, 3))));
  } catch (const data_error&) {
    return false;
  }
}

}  // namespace detail

LODESTONE_INLINE chat_template rendered_template(const special_tokens& specials, std::string_view name,
                                                 chat_program_options options) {
  const bool is_default = name.empty() || name == "default";
  if (is_default && !specials.chat_template.empty())
    return rendered_template(std::make_shared<const chat_program>(specials.chat_template, "chat_template",
                                                                  detail::with_tokens(std::move(options), specials)));
  std::string names = specials.chat_template.empty() ? "" : "default";
  for (const auto& [known, source] : specials.named_templates) {
    if (known == name)
      return rendered_template(std::make_shared<const chat_program>(source, "chat_template:" + known,
                                                                    detail::with_tokens(std::move(options), specials)));
    if (known != "default") names += (names.empty() ? "" : ", ") + known;
  }
  throw config_error(
      "the model folder has no chat_template" + (is_default ? "" : " called '" + std::string(name) + "'"), "template",
      names.empty() ? "name one of: " + chat_template_names() : "the folder's templates are: " + names);
}

LODESTONE_INLINE chat_choice choose_chat_template(const special_tokens& specials,
                                                  const std::function<bool(std::string_view)>& has_token,
                                                  chat_program_options options) {
  std::optional<chat_template> family;
  try {
    family = detect_chat_template(specials.chat_template, has_token);
  } catch (const config_error&) {
    if (specials.chat_template.empty()) throw;
  }
  std::string reason;
  try {
    chat_template form = rendered_template(specials, {}, std::move(options));
    if (family && detail::writes_the_same(*form.program, *family)) return {*family, {}};
    return {std::move(form), {}};
  } catch (const jinja::template_error& failure) {
    reason = failure.what();
  }
  if (!family) throw config_error("the folder's chat template cannot be used: " + reason, "template");
  return {*family, "the folder's chat template cannot be used (" + reason + "), so the built-in format " +
                       family->name + " takes its place"};
}

namespace detail {

/// Finds the answers in what a template wrote, and cuts it into segments; one object for each conversation.
class program_renderer {
 public:
  program_renderer(const chat_program& program, std::span<const chat_message> messages, std::string_view where)
      : program_(program), messages_(messages), where_(where) {}

  /// The segments of the whole conversation, whose last message is an answer.
  std::vector<chat_segment> run(target_choice targets, std::size_t first_target, render_report& report) {
    written_ = program_.write(messages_, false, where_);
    const bool trains_all = targets == target_choice::all_tokens;
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (messages_[i].role != chat_role::assistant) continue;
      const bool is_last = i + 1 == messages_.size();
      const bool is_empty = is_blank(messages_[i].content);
      if (is_empty) ++report.empty_answers;
      double weight = messages_[i].weight.value_or(1.0);
      if ((is_empty && !trains_all) || i < first_target || (targets == target_choice::last_answer && !is_last))
        weight = 0.0;
      const std::string failure = program_.marks_answers() ? find_marked(i) : find_by_prefix(i);
      if (!failure.empty() && !trains_all && weight > 0.0) fail(i, failure, is_last);
      if (failure.empty()) answers_.back().weight = weight;
    }
    return cut(trains_all, targets);
  }

 private:
  struct answer {
    std::size_t message = 0;
    std::vector<chat_span> spans;  // what is trained
    std::size_t content_end = 0;   // of the last bytes of its content
    double weight = 0.0;
    [[nodiscard]] std::size_t end() const { return spans.back().end; }
    /// Nothing stands behind the content that could tell where it ends.
    [[nodiscard]] bool is_open() const { return end() == content_end; }
  };

  [[noreturn]] void fail(std::size_t message, const std::string& what, bool is_last) const {
    throw data_error("the answer in message " + std::to_string(message + 1) +
                         " cannot be found in what the chat template writes: " + what,
                     where_,
                     (is_last ? std::string() : "set targets to last-answer, or ") +
                         "name a built-in template: " + chat_template_names());
  }

  /// Where the content of a message ends in the whole; nothing when the template left it out.
  [[nodiscard]] std::optional<std::size_t> content_end(std::size_t message, std::size_t from, std::size_t to) const {
    std::optional<std::size_t> end;
    for (const chat_span& span : written_.contents)
      if (span.message == static_cast<std::int32_t>(message) && span.begin >= from && span.end <= to) end = span.end;
    return end;
  }

  /// The generation blocks that hold the content of a message. Returns what is wrong, or nothing.
  std::string find_marked(std::size_t message) {
    answer found{message, {}, 0, 0.0};
    for (const chat_span& block : written_.generated) {
      const std::optional<std::size_t> end = content_end(message, block.begin, block.end);
      if (!end || block.begin == block.end) continue;
      found.spans.push_back(block);
      found.content_end = *end;
    }
    if (found.spans.empty()) return "no generation block holds it";
    answers_.push_back(std::move(found));
    return {};
  }

  /// The answer is what the conversation up to it has behind the prompt before it.
  std::string find_by_prefix(std::size_t message) {
    std::string prompt;
    std::string with;
    try {
      prompt = program_.write(messages_.first(message), true, where_).text;
      with = message + 1 == messages_.size() ? written_.text
                                             : program_.write(messages_.first(message + 1), false, where_).text;
    } catch (const data_error& failure) {
      return failure.what();
    }
    for (const std::string* part : {&prompt, &with}) {
      if (written_.text.starts_with(*part)) continue;
      const auto place = std::mismatch(part->begin(), part->end(), written_.text.begin(), written_.text.end()).first;
      const auto at = static_cast<std::size_t>(place - part->begin());
      return std::string(part == &prompt ? "the prompt before it" : "the conversation that ends with it") + " has " +
             excerpt(*part, at) + " where the whole has " + excerpt(written_.text, at);
    }
    if (with.size() <= prompt.size()) return "nothing stands behind its prompt";
    const std::optional<std::size_t> end = content_end(message, prompt.size(), with.size());
    if (!end) return "the template leaves it out";
    // Blanks behind the end token begin the next turn: a model stops before it would write them.
    std::size_t last = written_.text.find_last_not_of(" \t\r\n", with.size() - 1) + 1;
    if (last <= *end) last = with.size();
    answers_.push_back({message, {{prompt.size(), last, -1}}, *end, 0.0});
    return {};
  }

  std::vector<chat_segment> cut(bool trains_all, target_choice targets) {
    const std::string& text = written_.text;
    std::vector<std::size_t> places{0, text.size()};
    std::vector<std::size_t> pieces;  // where tokenisation is cut
    for (const answer& one : answers_)
      for (const chat_span& span : one.spans)
        for (const std::size_t at : {span.begin, span.end}) pieces.push_back(at);
    for (const chat_span& span : written_.contents) {
      places.push_back(span.begin);
      places.push_back(span.end);
      if (!is_apart(span, trains_all, targets)) continue;
      pieces.push_back(span.begin);
      pieces.push_back(span.end);
    }
    places.insert(places.end(), pieces.begin(), pieces.end());
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    std::vector<chat_segment> segments;
    auto content = written_.contents.begin();
    for (std::size_t i = 0; i + 1 < places.size(); ++i) {
      const std::size_t begin = places[i];
      while (content != written_.contents.end() && content->end <= begin) ++content;
      chat_segment& segment = segments.emplace_back();
      segment.text = text.substr(begin, places[i + 1] - begin);
      segment.starts_piece = std::find(pieces.begin(), pieces.end(), begin) != pieces.end();
      segment.weight = trains_all ? 1.0 : 0.0;
      if (content != written_.contents.end() && content->begin <= begin) {
        segment.is_template = false;
        segment.message = content->message;
        if (is_apart(*content, trains_all, targets))
          segment.weight = *messages_[static_cast<std::size_t>(content->message)].weight;
      }
      for (const answer& one : answers_) {
        for (const chat_span& span : one.spans) {
          if (begin < span.begin || begin >= span.end) continue;
          segment.message = static_cast<std::int32_t>(one.message);
          if (!trains_all || messages_[one.message].weight) segment.weight = one.weight;
        }
        // Where the template writes nothing behind an answer, the next turn's first token ends it.
        if (one.is_open() && one.weight > 0.0 && one.end() == begin && segment.weight == 0.0) {
          segment.weight = one.weight;
          segment.is_first_token_target = true;
        }
      }
    }
    if (!answers_.empty() && answers_.back().is_open() && answers_.back().end() == text.size()) {
      chat_segment& end = segments.emplace_back();
      end.is_end_token = true;
      end.weight = answers_.back().weight;
      end.message = static_cast<std::int32_t>(answers_.back().message);
    }
    return segments;
  }

  /// Whether a content that is no answer carries a weight of its own.
  [[nodiscard]] bool is_apart(const chat_span& span, bool trains_all, target_choice targets) const {
    const chat_message& message = messages_[static_cast<std::size_t>(span.message)];
    return message.role != chat_role::assistant && message.weight.has_value() &&
           targets != target_choice::last_answer && *message.weight != (trains_all ? 1.0 : 0.0);
  }

  const chat_program& program_;
  std::span<const chat_message> messages_;
  std::string_view where_;
  chat_text written_;
  std::vector<answer> answers_;
};

LODESTONE_INLINE std::vector<chat_segment> render_program(const chat_template& form,
                                                          std::span<const chat_message> messages, target_choice targets,
                                                          std::string_view where, render_report* report,
                                                          std::size_t first_target) {
  std::size_t count = messages.size();
  while (count > 0 && messages[count - 1].role != chat_role::assistant) --count;
  if (count == 0)
    throw data_error("no assistant turn", where, "training needs an answer; plain documents use the field 'text'");
  render_report counts;
  counts.unanswered_turns = static_cast<std::int64_t>(messages.size() - count);
  std::vector<chat_segment> segments =
      program_renderer(*form.program, messages.first(count), where).run(targets, first_target, counts);
  if (report != nullptr) *report = counts;
  return segments;
}

/// Bytes [begin, end) of a written text as segments, cut where contents begin and end.
[[nodiscard]] inline std::vector<chat_segment> plain_segments(const chat_text& written, std::size_t begin,
                                                              std::size_t end) {
  std::vector<chat_segment> segments;
  const auto add = [&](std::size_t from, std::size_t to, std::int32_t message) {
    from = std::max(from, begin);
    to = std::min(to, end);
    if (from >= to) return;
    chat_segment& segment = segments.emplace_back();
    segment.text = written.text.substr(from, to - from);
    segment.is_template = message < 0;
    segment.message = message;
  };
  std::size_t at = 0;
  for (const chat_span& span : written.contents) {
    add(at, span.begin, -1);
    add(span.begin, span.end, span.message);
    at = span.end;
  }
  add(at, written.text.size(), -1);
  return segments;
}

LODESTONE_INLINE std::vector<chat_segment> render_program_prompt(const chat_template& form,
                                                                 std::span<const chat_message> messages,
                                                                 std::string_view where) {
  const chat_text prompt = form.program->write(messages, true, where);
  std::size_t header = prompt.text.size();
  try {
    const std::string without = form.program->write(messages, false, where).text;
    if (prompt.text.starts_with(without)) header = without.size();
  } catch (const data_error&) {  // some templates write a last question only as a prompt
  }
  std::vector<chat_segment> segments = plain_segments(prompt, 0, header);
  // The header of the answer is one segment, the last; it may be empty.
  segments.emplace_back().text = prompt.text.substr(header);
  return segments;
}

LODESTONE_INLINE std::vector<chat_segment> render_program_answer(const chat_template& form,
                                                                 std::span<const chat_message> messages,
                                                                 std::size_t before, std::string_view where) {
  const std::string prompt = to_text(render_program_prompt(form, messages.first(before), where));
  std::vector<chat_segment> segments =
      render_program(form, messages, target_choice::all_answers, where, nullptr, before);
  const std::string whole = to_text(segments);
  if (!whole.starts_with(prompt))
    throw data_error("the prompt that the chat template writes is no beginning of prompt and answer", where,
                     "name a built-in template: " + chat_template_names());
  std::size_t left = prompt.size();
  auto first = segments.begin();
  for (; first != segments.end() && left >= first->text.size() && !first->is_end_token; ++first)
    left -= first->text.size();
  segments.erase(segments.begin(), first);
  if (left > 0 && !segments.empty()) segments.front().text.erase(0, left);
  if (!segments.empty()) segments.front().starts_piece = true;
  return segments;
}

}  // namespace detail

}  // namespace lodestone

#include <lodestone/text/chat_families.hpp>
