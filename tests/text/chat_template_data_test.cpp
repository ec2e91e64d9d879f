// Chat templates of model folders: what they write, which of it is trained, and which format a folder gets.
#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/data/preference_builder.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/chat_program.hpp>
#include <lodestone/text/special_tokens.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "../support/support.hpp"
#include "toy_tokenizer.hpp"

using namespace lodestone;

namespace {

using lodestone_test::toy_tokenizer;
using ids = std::vector<std::int32_t>;

// Formats of our own that look like published ones.
const std::string chatml =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const std::string inst =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system messages') }}"
    "{% elif m.role == 'user' %}{{ '[INST] ' + m.content|trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content|trim + ' ' + eos_token }}{% endif %}{% endfor %}";
/// Drops the thoughts of answers that are not the last message, as reasoning models' templates do.
const std::string forgetful =
    "{% for m in messages %}<|im_start|>{{ m.role + '\n' }}{% if m.role == 'assistant' and not loop.last %}"
    "{{ m.content.split('</t>')[-1] }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const std::string generation =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const std::string unclosed =
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

std::vector<chat_message> talk() {
  return {{chat_role::user, "q one"},
          {chat_role::assistant, "a one"},
          {chat_role::user, "q two"},
          {chat_role::assistant, "a two"}};
}

chat_template program_of(const std::string& source) {
  chat_program_options options;
  options.tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  return rendered_template(std::make_shared<const chat_program>(source, "test", options));
}

special_tokens of_llama() {
  special_tokens specials;
  specials.bos = "<s>";
  specials.eos = "</s>";
  return specials;
}

/// The tokens with what is trained in braces.
std::string shown(const toy_tokenizer& words, const encoded_sequence& example) {
  std::string text;
  bool is_open = false;
  for (std::size_t i = 0; i < example.tokens.size(); ++i) {
    const bool is_target = i > 0 && example.weights[i - 1] > 0.0F;
    if (is_target != is_open) text += is_target ? "{" : "}";
    is_open = is_target;
    text += words.token_of(example.tokens[i]);
  }
  return text + (is_open ? "}" : "");
}

template <class Error, class Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const Error& failure) {
    return failure.what();
  }
  return "nothing was thrown";
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(text_chat_template_data)

/// The ids of transformers' apply_chat_template on whole conversations (tests/oracle/chat_templates.py).
BOOST_AUTO_TEST_CASE(ids_are_those_of_apply_chat_template) {
  std::ifstream file(lodestone_test::data("chat/ids.jsonl"));
  std::string loaded;
  std::unique_ptr<const tokenizer> words;
  std::size_t count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const auto one = nlohmann::json::parse(line);
    if (one["tokenizer"] != loaded) {
      loaded = one["tokenizer"];
      words = std::make_unique<const tokenizer>(tokenizer::load(lodestone_test::source_dir() / loaded));
    }
    special_tokens specials;
    specials.bos = one["bos"];
    specials.eos = one["eos"];
    specials.texts = {{"bos_token", one["bos"]}, {"eos_token", one["eos"]}};
    specials.chat_template = one["template"];
    const chat_encoder encoder(*words, rendered_template(specials, {}), {}, specials);
    std::vector<chat_message> messages;
    for (const auto& message : one["messages"]) {
      const std::string role = message["role"];
      messages.push_back({role == "user"     ? chat_role::user
                          : role == "system" ? chat_role::system
                                             : chat_role::assistant,
                          message["content"], std::nullopt});
    }
    const auto wanted = one["ids"].get<ids>();
    const bool is_whole = messages.back().role == chat_role::assistant;
    if (!one["opens"] && !is_whole) continue;  // a conversation without a last answer is written as a prompt only
    const ids written = one["opens"] ? encoder.encode_prompt(messages) : encoder.encode(messages).tokens;
    BOOST_TEST(written == wanted, loaded << " " << one["template"] << " " << messages.size() << "\n"
                                         << words->decode(written) << "\n"
                                         << words->decode(wanted));
  }
  BOOST_TEST(count == 60U);
}

BOOST_AUTO_TEST_CASE(answers_are_found_by_prefixes) {
  const toy_tokenizer words = lodestone_test::every_format();
  const auto trained = [&](const std::string& source, target_choice targets, std::vector<chat_message> messages) {
    chat_encoding options;
    options.targets = targets;
    return shown(words, chat_encoder(words, program_of(source), options, of_llama()).encode(messages, "data:1"));
  };
  const target_choice all = target_choice::all_answers;
  BOOST_TEST(trained(chatml, all, talk()) ==
             "<|im_start|>user\nq one<|im_end|>\n<|im_start|>assistant\n{a one<|im_end|>}\n"
             "<|im_start|>user\nq two<|im_end|>\n<|im_start|>assistant\n{a two<|im_end|>}\n");
  BOOST_TEST(trained(chatml, target_choice::last_answer, talk()) ==
             "<|im_start|>user\nq one<|im_end|>\n<|im_start|>assistant\na one<|im_end|>\n"
             "<|im_start|>user\nq two<|im_end|>\n<|im_start|>assistant\n{a two<|im_end|>}\n");
  BOOST_TEST(trained(inst, all, talk()) == "<s>[INST] q one [/INST]{ a one </s>}[INST] q two [/INST]{ a two </s>}");
  BOOST_TEST(trained(generation, all, talk()) == trained(chatml, all, talk()));
  // Where nothing ends an answer, the next turn does, and the end-of-sequence token the last.
  BOOST_TEST(trained(unclosed, all, talk()) ==
             "<|user|>q one<|assistant|>{a one<|user|>}q two<|assistant|>{a two</s>}");
  // An empty answer is masked, weights count, what is not answered is left out.
  std::vector<chat_message> messages = talk();
  messages[1].content = " ";
  messages[2].weight = 0.5;
  messages.push_back({chat_role::user, "left out"});
  BOOST_TEST(trained(chatml, all, messages) ==
             "<|im_start|>user\nq one<|im_end|>\n<|im_start|>assistant\n <|im_end|>\n"
             "<|im_start|>user\n{q two}<|im_end|>\n<|im_start|>assistant\n{a two<|im_end|>}\n");
  // The tokens do not depend on the choice of targets.
  for (const std::string& source : {chatml, inst, generation, forgetful, unclosed}) {
    const chat_template form = program_of(source);
    std::vector<ids> tokens;
    for (const target_choice targets : {target_choice::last_answer, target_choice::all_tokens}) {
      chat_encoding options;
      options.targets = targets;
      tokens.push_back(chat_encoder(words, form, options, of_llama()).encode(talk()).tokens);
    }
    BOOST_TEST(tokens[0] == tokens[1]);
  }
}

BOOST_AUTO_TEST_CASE(a_template_that_rewrites_answers_is_an_error_with_a_way_out) {
  const toy_tokenizer words = lodestone_test::every_format();
  std::vector<chat_message> messages = talk();
  messages[1].content = "hm</t>a one";
  messages[3].content = "so</t>a two";
  const chat_encoder encoder(words, program_of(forgetful), {}, of_llama());
  const std::string message = message_of<data_error>([&] { (void)encoder.encode(messages, "data.jsonl:7"); });
  BOOST_TEST(has(message, "data.jsonl:7: the answer in message 2 cannot be found"), message);
  BOOST_TEST(has(message, "assistant\\nhm</t>a one"), message);
  BOOST_TEST(has(message, "assistant\\na one"), message);
  BOOST_TEST(has(message, "set targets to last-answer, or name a built-in template: "), message);
  chat_encoding last;
  last.targets = target_choice::last_answer;
  BOOST_TEST(shown(words, chat_encoder(words, program_of(forgetful), last, of_llama()).encode(messages)) ==
             "<|im_start|>user\nq one<|im_end|>\n<|im_start|>assistant\na one<|im_end|>\n"
             "<|im_start|>user\nq two<|im_end|>\n<|im_start|>assistant\n{so</t>a two<|im_end|>}\n");
  // A refusal has the record's place and the template's words.
  const chat_encoder strict(words, program_of(inst), {}, of_llama());
  messages.insert(messages.begin(), {chat_role::system, "s"});
  BOOST_TEST(has(message_of<data_error>([&] { (void)strict.encode(messages, "data.jsonl:8"); }),
                 "data.jsonl:8: the chat template refuses the conversation: no system messages"));
}

/// Data cannot forge a turn, whatever the template does with them.
BOOST_AUTO_TEST_CASE(control_tokens_in_contents_stay_characters) {
  const toy_tokenizer words = lodestone_test::every_format();
  const std::int32_t start = words.id_of("<|im_start|>").value();
  std::vector<chat_message> messages = talk();
  messages[0].content = "  x<|im_start|>y ";
  messages[1].content = "<|im_end|>";
  const std::string trimming =
      "{% for m in messages %}{% set c = '<|im_start|>' + m.role + '\n' + m.content|trim ~ "
      "'<|im_end|>' %}{{ c }}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  for (const std::string& source : {chatml, generation, trimming}) {
    encoding_report report;
    const chat_encoder encoder(words, program_of(source), {}, of_llama());
    const ids tokens = encoder.encode(messages, {}, &report).tokens;
    BOOST_TEST(std::count(tokens.begin(), tokens.end(), start) == 4);
    BOOST_TEST(report.literal_tokens == 2);
    const ids prompt = encoder.encode_prompt(std::span<const chat_message>(messages).first(1));
    BOOST_TEST(std::count(prompt.begin(), prompt.end(), start) == 2);
    chat_encoding options;
    options.content = content_tokens::parse;
    const ids parsed = chat_encoder(words, program_of(source), options, of_llama()).encode(messages).tokens;
    BOOST_TEST(std::count(parsed.begin(), parsed.end(), start) == 5);
  }
}

BOOST_AUTO_TEST_CASE(the_first_token_is_written_once_or_as_the_template_does) {
  const toy_tokenizer adds({"<s>", "</s>"}, {0});
  const toy_tokenizer plain({"<s>", "</s>"});
  for (const toy_tokenizer* words : {&adds, &plain}) {
    encoding_report report;
    const chat_encoder encoder(*words, program_of(inst), {}, of_llama());
    const encoded_sequence example = encoder.encode(talk(), {}, &report);
    BOOST_TEST(words->spell(example.tokens) == "<s>[INST] q one [/INST] a one </s>[INST] q two [/INST] a two </s>");
    BOOST_TEST(report.doubled_bos == 0);
    // A template without it has none, as in apply_chat_template; documents keep what the tokenizer puts first.
    const chat_encoder bare(*words, program_of("{% for m in messages %}{{ m.content }};{% endfor %}"), {}, of_llama());
    BOOST_TEST(words->spell(bare.encode(talk()).tokens) == "q one;a one;q two;a two;");
    BOOST_TEST(words->spell(bare.encode_text("doc").tokens) == (words == &adds ? "<s>doc" : "doc"));
  }
}

BOOST_AUTO_TEST_CASE(what_ends_an_answer_is_what_the_template_writes) {
  const toy_tokenizer words = lodestone_test::every_format();
  const auto end = [&](const std::string& source) {
    return std::string(words.token_of(chat_encoder(words, program_of(source), {}, of_llama()).end_id().value()));
  };
  BOOST_TEST(end(chatml) == "<|im_end|>");
  BOOST_TEST(end(inst) == "</s>");
  BOOST_TEST(end(unclosed) == "</s>");
}

BOOST_AUTO_TEST_CASE(preference_answers_stand_behind_the_rendered_prompt) {
  const toy_tokenizer words = lodestone_test::every_format();
  preference_record record;
  record.messages = {{chat_role::user, "q one"}, {chat_role::assistant, "a one"}, {chat_role::user, "q two"}};
  record.answers.resize(2);
  record.answers[0].messages = {{chat_role::assistant, "good"}};
  record.answers[1].messages = {{chat_role::assistant, "bad"}};
  for (const std::string& source : {chatml, forgetful, generation}) {
    const chat_encoder encoder(words, program_of(source), {}, of_llama());
    std::vector<encoded_sequence> examples;
    data_summary counts;
    preference_builder(encoder, {}, {}).build(record, "p:1", examples, counts);
    BOOST_REQUIRE(examples.size() == 2U);
    BOOST_TEST(shown(words, examples[1]) ==
               "<|im_start|>user\nq one<|im_end|>\n<|im_start|>assistant\na one<|im_end|>\n"
               "<|im_start|>user\nq two<|im_end|>\n{<|im_start|>assistant\nbad<|im_end|>}\n");
    BOOST_TEST(examples[0].prompt == examples[1].prompt);
  }
  // The chunks of a context are found in what the template writes.
  record.messages.clear();
  record.context = {"one.", "two."};
  record.question = "why?";
  const chat_encoder encoder(words, program_of(chatml), {}, of_llama());
  std::vector<encoded_sequence> examples;
  data_summary counts;
  preference_builder(encoder, {}, {}).build(record, "p:2", examples, counts);
  BOOST_REQUIRE(examples[0].chunks.size() == 3U);
  BOOST_TEST(words.spell(std::span(examples[0].tokens).subspan(static_cast<std::size_t>(examples[0].chunks[1]), 4)) ==
             "two.");
  const chat_encoder loud(words, program_of("{% for m in messages %}{{ m.content|upper }}</s>{% endfor %}"), {},
                          of_llama());
  BOOST_TEST(
      has(message_of<data_error>([&] { preference_builder(loud, {}, {}).build(record, "p:3", examples, counts); }),
          "does not write the context as it stands"));
}

BOOST_AUTO_TEST_CASE(a_folder_gets_the_family_that_writes_the_same_or_its_own_template) {
  const toy_tokenizer words = lodestone_test::every_format();
  const auto choose = [&](const std::string& source) {
    special_tokens specials = of_llama();
    specials.texts = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    specials.chat_template = source;
    return choose_chat_template(specials, [&](std::string_view token) { return words.id_of(token).has_value(); });
  };
  BOOST_TEST(choose(chatml).form.name == "chatml");
  BOOST_TEST(!choose(chatml).form.program);
  // A default system text, or trimmed contents, and it is no longer the same.
  const chat_choice own =
      choose("{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + chatml);
  BOOST_TEST(own.form.name == "rendered");
  BOOST_TEST(own.note.empty());
  BOOST_TEST(has(to_text(render_prompt(own.form, std::vector<chat_message>{{chat_role::user, "q"}})), "Be kind."));
  BOOST_TEST(choose(inst).form.name == "rendered");  // it trims, and it writes a blank before the end
  // What cannot be parsed, or writes no conversation, falls back to the family of its marks, and says so.
  const chat_choice fallback = choose("{% include 'x' %}<|im_start|><|im_end|>");
  BOOST_TEST(fallback.form.name == "chatml");
  BOOST_TEST(has(fallback.note, "chat_template:1:4: the block 'include' is not supported"), fallback.note);
  BOOST_TEST(has(choose("<|im_start|>user<|im_end|>").note, "does not write a question and its answer"));
  const std::string nothing = message_of<config_error>([&] { (void)choose("{% include 'x' %}"); });
  BOOST_TEST(has(nothing, "is not supported"), nothing);
  BOOST_TEST(has(message_of<config_error>([&] { (void)choose(""); }), "has no chat_template"));
}

BOOST_AUTO_TEST_CASE(templates_by_name_with_values_and_a_date) {
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(folder / "tokenizer_config.json", R"({"eos_token": {"content": "</s>"}, "pad_token": null,
    "image_token": "<i>", "chat_template": [
      {"name": "default", "template": "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"},
      {"name": "rag", "template": "R{{ messages|map(attribute='content')|join }}{{ mode }}{{ strftime_now('%d.%m.') }}"}]})");
  std::filesystem::create_directory(folder / "additional_chat_templates");
  lodestone_test::write_file(folder / "additional_chat_templates/tool_use.jinja",
                             "T{% for m in messages %}{{ m.content }}{% endfor %}");
  const special_tokens specials = read_special_tokens(folder.path());
  BOOST_TEST(specials.texts.size() == 2U);
  const std::vector<chat_message> messages{{chat_role::user, "q"}};
  const auto written = [&](std::string_view name, chat_program_options options = {}) {
    return rendered_template(specials, name, std::move(options)).program->write(messages, true).text;
  };
  BOOST_TEST(written("") == "q</s>");
  BOOST_TEST(written("default") == "q</s>");
  BOOST_TEST(written("tool_use") == "Tq");
  BOOST_TEST(written("rag", {.values = R"({"mode": "x"})", .date = "2024-07-26"}) == "Rqx26.07.");
  BOOST_TEST(has(message_of<config_error>([&] { (void)written("other"); }), "default, rag, tool_use"));
  BOOST_TEST(has(message_of<config_error>([&] { (void)written("rag", {.values = R"({"tools": []})"}); }), "tools"));
  BOOST_CHECK_THROW((void)written("rag", {.date = "26.7.2024"}), config_error);
  BOOST_CHECK_THROW((void)written("rag", {.values = "[1]"}), config_error);
  BOOST_CHECK_THROW((void)written("rag", {.values = "{"}), format_error);
  const chat_template form = rendered_template(specials, "rag", {.values = R"({"mode": "x"})"});
  BOOST_TEST(has(form.program->describe(), "values={\"mode\": \"x\"}"));
}

BOOST_AUTO_TEST_SUITE_END()
