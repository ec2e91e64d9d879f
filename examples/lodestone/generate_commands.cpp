// generate and chat: prompts in, answers out.
#include <cstdint>
#include <iostream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/generate/concept.hpp>
#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/jsonl.hpp>

#include "commands.hpp"
#include "generator_parts.hpp"

namespace lodestone_cli {
namespace {

namespace generate = lodestone::generate;
using json = nlohmann::json;

/// A prompt that is text, as the settings want it.
generate::prompt_input make_prompt(const settings& s, std::string text) {
  if (!s.chat) return text;
  std::vector<lodestone::chat_message> messages;
  if (!s.system.empty()) messages.push_back({lodestone::chat_role::system, s.system});
  messages.push_back({lodestone::chat_role::user, std::move(text)});
  return messages;
}

/// A line of --data: what is asked, and the id that its answer carries.
struct line {
  json id;
  generate::request asked;
};

lodestone::chat_role role_of(const std::string& name, const std::string& where) {
  for (const auto role : {lodestone::chat_role::system, lodestone::chat_role::user, lodestone::chat_role::assistant})
    if (name == to_string(role)) return role;
  throw lodestone::data_error("unknown role \"" + name + "\"", where, "use system, user or assistant");
}

line read_line(const lodestone::json_record& record, const std::string& where, const settings& s) {
  const auto refuse = [&](const std::string& what) {
    throw lodestone::data_error(what, where,
                                "give one of \"prompt\" (text), \"messages\" (role and content) and \"tokens\" (ids); "
                                "beside it \"id\" (text or number), \"seed\", \"max_new_tokens\", \"stop\" (texts)");
  };
  line own{record.index, make_request(s)};
  own.asked.draw.seed += static_cast<std::uint64_t>(record.index);
  try {
    lodestone::refuse_zero_byte(record.text, where);
    const json object = json::parse(record.text);
    if (!object.is_object()) refuse("not a JSON object");
    int prompts = 0;
    for (const auto& [key, value] : object.items()) {
      if (key == "prompt" || key == "messages" || key == "tokens") ++prompts;
      if (key == "id") {
        if (!value.is_string() && !value.is_number()) refuse("\"id\" is neither text nor a number");
        own.id = value;
      } else if (key == "prompt") {
        own.asked.prompt = make_prompt(s, value.get<std::string>());
      } else if (key == "tokens") {
        own.asked.prompt = value.get<std::vector<std::int32_t>>();
      } else if (key == "messages") {
        std::vector<lodestone::chat_message> messages;
        for (const json& one : value)
          messages.push_back({role_of(one.at("role").get<std::string>(), where), one.at("content").get<std::string>()});
        own.asked.prompt = std::move(messages);
      } else if (key == "seed") {
        own.asked.draw.seed = value.get<std::uint64_t>();
      } else if (key == "max_new_tokens") {
        own.asked.max_new_tokens = value.get<std::int64_t>();
      } else if (key == "stop") {
        own.asked.stop = value.get<std::vector<std::string>>();
      }
    }
    if (prompts != 1) refuse(prompts == 0 ? "has no prompt" : "has several prompts");
  } catch (const json::exception& failure) {
    refuse(failure.what());
  }
  return own;
}

json to_json(const json& id, const generate::answer& answer) {
  if (answer.why == generate::finish::failed)
    return {{"id", id}, {"finish", to_string(answer.why)}, {"error", answer.error}};
  return {{"id", id},
          {"text", answer.text},
          {"finish", to_string(answer.why)},
          {"prompt_tokens", answer.prompt_tokens},
          {"tokens", answer.tokens}};
}

/// Every line of the files answered, in their order.
int answer_lines(const settings& s, const generate::any_generator& model) {
  std::vector<json> ids;
  std::vector<generate::request> requests;
  for (const data_source& source : s.data) {
    lodestone::jsonl_reader reader(source.path);
    for (lodestone::json_record record; reader.next(record);) {
      line own = read_line(record, reader.where(record.line), s);
      ids.push_back(std::move(own.id));
      requests.push_back(std::move(own.asked));
    }
  }
  std::map<std::size_t, std::string> early;  // answers whose predecessors are not there yet
  std::size_t next = 0;
  std::int64_t failed = 0;
  model.generate(requests, [&](std::size_t i, generate::answer&& answer) {
    if (answer.why == generate::finish::failed) ++failed;
    early[i] = to_json(ids[i], answer).dump() + "\n";
    for (auto first = early.begin(); first != early.end() && first->first == next; first = early.erase(first), ++next)
      print(first->second);
  });
  if (failed > 0) note(std::to_string(failed) + " of " + std::to_string(ids.size()) + " prompts have no answer");
  return failed > 0 ? failure : success;
}

/// One answer on standard output while it is made; the whole of it is returned.
generate::answer speak(const generate::any_generator& model, generate::request asked) {
  generate::answer whole;
  model.generate({&asked, 1}, [&](std::size_t, generate::answer&& answer) { whole = std::move(answer); },
                 [](std::size_t, std::string_view text) { print(text); });
  if (whole.why == generate::finish::failed) throw lodestone::error(whole.error);
  print("\n");
  return whole;
}

}  // namespace

int run_generate(const settings& s) {
  int status = success;
  generate::request asked = make_request(s);
  if (s.data.empty())
    asked.prompt = make_prompt(s, s.prompt_file.empty()
                                      ? s.prompt
                                      : lodestone::read_text(s.prompt_file == "-" ? "/dev/stdin" : s.prompt_file));
  with_generator(s, [&](const generate::any_generator& model) {
    if (s.data.empty())
      speak(model, asked);
    else
      status = answer_lines(s, model);
  });
  return status;
}

int run_chat(const settings& s) {
  with_generator(s, [&](const generate::any_generator& model) {
    const bool is_terminal = isatty(STDIN_FILENO) != 0;
    const std::vector<lodestone::chat_message> start =
        s.system.empty() ? std::vector<lodestone::chat_message>{}
                         : std::vector<lodestone::chat_message>{{lodestone::chat_role::system, s.system}};
    std::vector<lodestone::chat_message> history = start;
    generate::request asked = make_request(s);
    if (is_terminal) note("/exit ends, /new forgets what was said");
    for (std::string text; is_terminal && (std::cerr << "> "), std::getline(std::cin, text);) {
      if (!text.empty() && text.back() == '\r') text.pop_back();
      if (text == "/exit") break;
      if (text == "/new") history = start;
      if (text.empty() || text == "/new") continue;
      history.push_back({lodestone::chat_role::user, text});
      asked.prompt = history;
      history.push_back({lodestone::chat_role::assistant, speak(model, asked).text});
      ++asked.draw.seed;  // the same question again may be answered otherwise
    }
  });
  return success;
}

}  // namespace lodestone_cli
