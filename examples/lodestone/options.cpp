// The one place that knows CLI11 and toml++: a table of options, filled from the file and then from the command line.
#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <functional>
#include <sstream>
#include <utility>

#include <CLI/CLI.hpp>
#include <toml++/toml.h>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/generate/sampling.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/version.hpp>

namespace lodestone_cli {
namespace {

using lodestone::config_error;

constexpr unsigned bit(command c) { return 1U << static_cast<unsigned>(c); }
constexpr unsigned tokenize = bit(command::tokenize), prepare = bit(command::prepare), plan = bit(command::plan),
                   sft = bit(command::sft), prefer = bit(command::prefer) | bit(command::ablate),
                   merge = bit(command::merge), score = bit(command::score), generate = bit(command::generate),
                   chat = bit(command::chat), eval = bit(command::eval), synthesise = bit(command::synthesise),
                   inspect = bit(command::inspect), doctor = bit(command::doctor), demo = bit(command::demo);
constexpr unsigned runs = sft | prefer;  // what trains
constexpr unsigned data_makers = prepare | plan | runs;
constexpr unsigned trainers = plan | runs;
constexpr unsigned generators = generate | chat | eval | synthesise;  // what answers prompts
constexpr unsigned judged = generators & ~(generate | chat);   // what may have a judge
constexpr unsigned model_runners = runs | score | generators;

struct command_text {
  command what;
  const char* name;
  const char* help;
};
constexpr command_text commands[] = {
    {command::tokenize, "tokenize", "Text to token ids (a JSON array), or back with --decode"},
    {command::prepare, "prepare", "Tokenise data once into a memory-mapped store"},
    {command::plan, "plan", "Dry run: lengths, packs, memory and predicted step times; nothing is trained"},
    {command::sft, "sft", "Supervised fine-tuning"},
    {command::prefer, "prefer", "Preference optimisation: LOGO, SimPO, CPO, ORPO, DPO"},
    {command::ablate, "ablate",
     "Four runs side by side: supervised or preference loss, with normal or synthetic positions"},
    {command::merge, "merge", "Write a model folder with the weights of an adapter folder merged in"},
    {command::score, "score", "Negative log-likelihood of each example, or reward of each answer, one JSON line each"},
    {command::generate, "generate", "Continue a prompt, or answer every line of a file"},
    {command::chat, "chat", "A conversation on standard input, one message a line"},
    {command::eval, "eval", "Ask the model the questions of tests and benchmarks: records, tables, a report"},
    {command::synthesise, "synthesise", "Documents to training data: LOGO's pairs, LongAlign's instructions"},
    {command::inspect, "inspect", "What a model folder, a token store or a run folder holds"},
    {command::doctor, "doctor", "Compiler, packages and processor of this program and machine"},
    {command::demo, "demo", "Train a small real model on long real documents, in minutes, on the CPU or a GPU"},
};

// --- One option ------------------------------------------------------------------------------------------------------

/// Binds a key to a member of settings. Texts come from the command line, nodes from the file.
struct option {
  std::string key;
  unsigned commands = 0;
  std::string kind;  ///< what the value is, for --help
  std::string help;
  bool is_switch = false;
  bool is_list = false;
  std::function<void(const std::vector<std::string>&)> from_text;
  std::function<void(const toml::node&, const std::string& where)> from_node;
  std::function<std::string()> to_text;  ///< as a TOML value; empty: not set
};

std::string flag(std::string_view key) {
  std::string text = "--" + std::string(key);
  std::ranges::replace(text, '_', '-');
  return text;
}

[[noreturn]] void wrong_type(const toml::node& node, const std::string& where, std::string_view kind) {
  std::ostringstream type;
  type << node.type();
  throw config_error("must be " + std::string(kind) + ", not " +
                         (node.is_table() || node.is_array() || node.is_integer() ? "an " : "a ") + type.str(),
                     where);
}

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr char digits[] = "0123456789ABCDEF";
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15U];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string grouped(std::int64_t value) {
  std::string text = lodestone::format_count(value);
  if (std::abs(value) < 10'000) std::erase(text, ',');
  std::ranges::replace(text, ',', '_');
  return text;
}

// A TOML float must not look like an integer.
std::string real(double value) {
  std::string text = lodestone::format_exact(value);
  if (std::abs(value) >= 1e-3 && std::abs(value) < 1e15) {  // 100000.0 rather than 1e+05
    char digits[64];
    text.assign(digits, std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed).ptr);
  }
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::int64_t whole_from_text(std::string text, const std::string& where) {
  const std::string original = text;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 1; i + 1 < text.size(); ++i)  // 65_536: underscores between digits, as in TOML
    if (text[i] == '_' && is_digit(text[i - 1]) && is_digit(text[i + 1])) text.erase(i--, 1);
  std::int64_t value = 0;
  const char* const begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const auto end = std::from_chars(begin, text.data() + text.size(), value);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size())
    throw config_error("must be a whole number, not \"" + original + "\"", where);
  return value;
}

double real_from_text(const std::string& text, const std::string& where) {
  double value = 0.0;
  const char* const begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const auto end = std::from_chars(begin, text.data() + text.size(), value);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || !std::isfinite(value))
    throw config_error("must be a number, not \"" + text + "\"", where);
  return value;
}

bool truth_from_text(const std::string& text, const std::string& where) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw config_error("must be true or false, not \"" + text + "\"", where);
}

// --- The table -------------------------------------------------------------------------------------------------------

/// All options over one settings object, in the order of --help and of the written file.
class table {
 public:
  explicit table(settings& s) : s_(s) { fill(); }
  table(const table&) = delete;
  table& operator=(const table&) = delete;

  [[nodiscard]] const std::vector<option>& options() const { return options_; }
  [[nodiscard]] const option* find(std::string_view key) const {
    const auto found = std::ranges::find(options_, key, &option::key);
    return found == options_.end() ? nullptr : &*found;
  }
  [[nodiscard]] std::vector<std::string> keys() const {
    std::vector<std::string> out;
    for (const option& o : options_) out.push_back(o.key);
    return out;
  }

 private:
  option& add(std::string key, unsigned users, std::string kind, std::string help) {
    option& o = options_.emplace_back();
    o.key = std::move(key);
    o.commands = users;
    o.kind = std::move(kind);
    o.help = std::move(help);
    return o;
  }

  void text(std::string key, unsigned users, std::string& target, std::string help, bool write_empty = false) {
    option& o = add(std::move(key), users, "TEXT", std::move(help));
    o.from_text = [&target](const std::vector<std::string>& v) { target = v.back(); };
    o.from_node = [&target](const toml::node& n, const std::string& where) {
      if (!n.is_string()) wrong_type(n, where, "a text in quotes");
      target = n.as_string()->get();
    };
    o.to_text = [&target, write_empty] { return target.empty() && !write_empty ? std::string() : toml_text(target); };
  }

  void choice(std::string key, unsigned users, std::string& target, const std::vector<std::string>& names,
              std::string help) {
    std::string kind;
    for (const std::string& name : names) kind += (kind.empty() ? "" : "|") + name;
    option& o = add(std::move(key), users, kind, std::move(help));
    const auto set = [&target, names](const std::string& value, const std::string& where) {
      if (std::ranges::find(names, value) == names.end()) {
        std::string list;
        for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
        const std::string near = nearest(value, names);
        throw config_error("unknown value \"" + value + "\"" + (near.empty() ? "" : ", did you mean \"" + near + "\"?"),
                           where, "use one of: " + list);
      }
      target = value;
    };
    o.from_text = [set, key = o.key](const std::vector<std::string>& v) { set(v.back(), flag(key)); };
    o.from_node = [set](const toml::node& n, const std::string& where) {
      if (!n.is_string()) wrong_type(n, where, "a text in quotes");
      set(n.as_string()->get(), where);
    };
    o.to_text = [&target] { return toml_text(target); };
  }

  template <class Target>
  void whole(std::string key, unsigned users, Target& target, std::int64_t least, std::string help) {
    option& o = add(std::move(key), users, "N", std::move(help));
    const auto set = [&target, least](std::int64_t value, const std::string& where) {
      if (value < least) throw config_error("must be at least " + std::to_string(least), where);
      target = value;
    };
    o.from_text = [set, key = o.key](const std::vector<std::string>& v) {
      set(whole_from_text(v.back(), flag(key)), flag(key));
    };
    o.from_node = [set](const toml::node& n, const std::string& where) {
      if (!n.is_integer()) wrong_type(n, where, "a whole number");
      set(n.as_integer()->get(), where);
    };
    o.to_text = [&target] {
      if constexpr (std::same_as<Target, std::int64_t>)
        return grouped(target);
      else
        return target ? grouped(*target) : std::string();
    };
  }

  template <class Target>
  void number(std::string key, unsigned users, Target& target, std::string help) {
    option& o = add(std::move(key), users, "X", std::move(help));
    o.from_text = [&target, key = o.key](const std::vector<std::string>& v) {
      target = real_from_text(v.back(), flag(key));
    };
    o.from_node = [&target](const toml::node& n, const std::string& where) {
      if (!n.is_number()) wrong_type(n, where, "a number");
      target = n.is_integer() ? static_cast<double>(n.as_integer()->get()) : n.as_floating_point()->get();
    };
    o.to_text = [&target] {
      if constexpr (std::same_as<Target, double>)
        return real(target);
      else
        return target ? real(*target) : std::string();
    };
  }

  void truth(std::string key, unsigned users, bool& target, std::string help) {
    option& o = add(std::move(key), users, "true or false", std::move(help));
    o.is_switch = true;
    o.from_text = [&target, key = o.key](const std::vector<std::string>& v) {
      target = truth_from_text(v.back(), flag(key));
    };
    o.from_node = [&target](const toml::node& n, const std::string& where) {
      if (!n.is_boolean()) wrong_type(n, where, "true or false");
      target = n.as_boolean()->get();
    };
    o.to_text = [&target] { return std::string(target ? "true" : "false"); };
  }

  void whole_list(std::string key, unsigned users, std::vector<std::int64_t>& target, std::string help) {
    option& o = add(std::move(key), users, "N,N,...", std::move(help));
    o.is_list = true;
    const auto check_positive = [](std::int64_t value, const std::string& where) {
      if (value < 1) throw config_error("must be at least 1", where);
      return value;
    };
    o.from_text = [&target, check_positive, key = o.key](const std::vector<std::string>& v) {
      target.clear();
      for (const std::string& one : split(v))
        target.push_back(check_positive(whole_from_text(one, flag(key)), flag(key)));
    };
    o.from_node = [&target, check_positive](const toml::node& n, const std::string& where) {
      if (!n.is_array()) wrong_type(n, where, "a list of whole numbers");
      target.clear();
      for (const toml::node& one : *n.as_array()) {
        if (!one.is_integer()) wrong_type(one, where, "a list of whole numbers");
        target.push_back(check_positive(one.as_integer()->get(), where));
      }
    };
    o.to_text = [&target] {
      std::string out = "[";
      for (const std::int64_t value : target) out += (out.size() > 1 ? ", " : "") + grouped(value);
      return out + "]";
    };
  }

  void number_list(std::string key, unsigned users, std::vector<double>& target, std::string help) {
    option& o = add(std::move(key), users, "X,X,...", std::move(help));
    o.is_list = true;
    o.from_text = [&target, key = o.key](const std::vector<std::string>& v) {
      target.clear();
      for (const std::string& one : split(v)) target.push_back(real_from_text(one, flag(key)));
    };
    o.from_node = [&target](const toml::node& n, const std::string& where) {
      if (!n.is_array()) wrong_type(n, where, "a list of numbers");
      target.clear();
      for (const toml::node& one : *n.as_array()) {
        if (!one.is_number()) wrong_type(one, where, "a list of numbers");
        target.push_back(one.is_integer() ? static_cast<double>(one.as_integer()->get())
                                          : one.as_floating_point()->get());
      }
    };
    o.to_text = [&target] {
      std::string out = "[";
      for (const double value : target) out += (out.size() > 1 ? ", " : "") + real(value);
      return out + "]";
    };
  }

  /// `names` are the values that there are; any text if empty.
  void text_list(std::string key, unsigned users, std::vector<std::string>& target,
                 const std::vector<std::string>& names, std::string help) {
    option& o = add(std::move(key), users, "NAME,NAME,...", std::move(help));
    o.is_list = true;
    const auto check_name = [names](const std::string& value, const std::string& where) {
      if (names.empty() || std::ranges::find(names, value) != names.end()) return value;
      std::string list;
      for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
      throw config_error("unknown value \"" + value + "\"", where, "use some of: " + list);
    };
    o.from_text = [&target, check_name, key = o.key](const std::vector<std::string>& v) {
      target.clear();
      for (const std::string& one : split(v)) target.push_back(check_name(one, flag(key)));
    };
    o.from_node = [&target, check_name](const toml::node& n, const std::string& where) {
      if (!n.is_array()) wrong_type(n, where, "a list of texts");
      target.clear();
      for (const toml::node& one : *n.as_array()) {
        if (!one.is_string()) wrong_type(one, where, "a list of texts");
        target.push_back(check_name(one.as_string()->get(), where));
      }
    };
    o.to_text = [&target] {
      std::string out = "[";
      for (const std::string& value : target) out += (out.size() > 1 ? ", " : "") + toml_text(value);
      return out + "]";
    };
  }

  /// Texts that may hold anything: the flag is repeated.
  void texts(std::string key, unsigned users, std::vector<std::string>& target, std::string help) {
    option& o = add(std::move(key), users, "TEXT", std::move(help));
    o.is_list = true;
    o.from_text = [&target](const std::vector<std::string>& v) { target = v; };
    o.from_node = [&target](const toml::node& n, const std::string& where) {
      if (!n.is_array()) wrong_type(n, where, "a list of texts");
      target.clear();
      for (const toml::node& one : *n.as_array()) {
        if (!one.is_string()) wrong_type(one, where, "a list of texts");
        target.push_back(one.as_string()->get());
      }
    };
    o.to_text = [&target] {
      std::string out = "[";
      for (const std::string& value : target) out += (out.size() > 1 ? ", " : "") + toml_text(value);
      return out + "]";
    };
  }

  /// [[key]] tables; on the command line PATH[,format=F][,weight=W][,count=N], as often as needed.
  void sources(std::string key, unsigned users, std::vector<data_source>& target, std::string help);

  /// "1,2,4" "8" -> 1 2 4 8.
  static std::vector<std::string> split(const std::vector<std::string>& values) {
    std::vector<std::string> out;
    for (const std::string& value : values)
      for (std::size_t begin = 0; begin <= value.size();) {
        const std::size_t end = std::min(value.find(',', begin), value.size());
        out.push_back(value.substr(begin, end - begin));
        begin = end + 1;
      }
    return out;
  }

  void fill();

  settings& s_;
  std::vector<option> options_;
};

const std::vector<std::string> source_keys{"path", "format", "weight", "count"};

void set_source(data_source& source, const std::string& key, const std::string& value, const std::string& where) {
  if (key == "format") source.format = value;
  if (key == "weight") source.weight = real_from_text(value, where + " weight");
  if (key == "count") source.count = whole_from_text(value, where + " count");
}

void table::sources(std::string key, unsigned users, std::vector<data_source>& target, std::string help) {
  option& o = add(std::move(key), users, "PATH[,format=F][,weight=W][,count=N]", std::move(help));
  o.is_list = true;
  o.from_text = [&target, key = o.key](const std::vector<std::string>& v) {
    target.clear();
    for (std::string one : v) {
      data_source source;
      for (;;) {  // settings stand at the end; a comma that none follows belongs to the path
        const std::size_t comma = one.rfind(',');
        if (comma == std::string::npos) break;
        const std::string tail = one.substr(comma + 1);
        const std::size_t equals = tail.find('=');
        const std::string name = tail.substr(0, equals);
        if (equals == std::string::npos || name == "path" || std::ranges::find(source_keys, name) == source_keys.end())
          break;
        set_source(source, name, tail.substr(equals + 1), flag(key));
        one.resize(comma);
      }
      source.path = one;
      target.push_back(source);
    }
  };
  o.from_node = [&target, key = o.key](const toml::node& n, const std::string& where) {
    target.clear();
    if (n.is_string()) {  // data = "train.jsonl"
      target.push_back({.path = n.as_string()->get(), .weight = {}, .count = {}});
      return;
    }
    if (!n.is_array()) wrong_type(n, where, "one or more [[" + key + "]] tables, or a path");
    const std::string file = where.substr(0, where.rfind(':', where.rfind(": ") - 1));
    for (const toml::node& one : *n.as_array()) {
      const auto place = [&](const toml::node& at, std::string_view name) {
        return file + ":" + std::to_string(at.source().begin.line) + ": " + key + "." + std::string(name);
      };
      if (one.is_string()) {
        target.push_back({.path = one.as_string()->get(), .weight = {}, .count = {}});
        continue;
      }
      if (!one.is_table()) wrong_type(one, where, "one or more [[" + key + "]] tables, or a path");
      data_source source;
      for (const auto& [name, value] : *one.as_table()) {
        const std::string at = place(value, name.str());
        if (name == "path" || name == "format") {
          if (!value.is_string()) wrong_type(value, at, "a text in quotes");
          (name == "path" ? source.path : source.format) = value.as_string()->get();
        } else if (name == "weight") {
          if (!value.is_number()) wrong_type(value, at, "a number");
          source.weight = value.is_integer() ? static_cast<double>(value.as_integer()->get())
                                             : value.as_floating_point()->get();
        } else if (name == "count") {
          if (!value.is_integer()) wrong_type(value, at, "a whole number");
          source.count = value.as_integer()->get();
        } else {
          const std::string near = nearest(name.str(), source_keys);
          throw config_error("unknown key" + (near.empty() ? "" : ", did you mean \"" + near + "\"?"), at,
                             "a [[" + key + "]] table has path, format, weight and count; keys of the whole run stand "
                             "before the first table");
        }
      }
      if (source.path.empty()) throw config_error("has no path", place(one, "path"), "add path = \"FILE\"");
      target.push_back(std::move(source));
    }
  };
  o.to_text = [] { return std::string(); };  // written as tables at the end of the file
}

void table::fill() {
  text("model", tokenize | data_makers | model_runners | merge, s_.model,
       "Hugging Face model folder (tokenize: or tokenizer file)");
  sources("data", data_makers | score | generate, s_.data,
          "JSONL, a JSON array, or a store of `prepare`; may be repeated (generate: JSONL with prompt, messages or "
           "tokens)");
  sources("held_out", trainers, s_.held_out, "data that is scored and never trained on");
  text("output", prepare | runs | merge | eval, s_.output,
       "sft, prefer: folder of the run and of the trained model; ablate: folder of the four runs; prepare: file of the "
       "store; merge: the new model folder; eval: folder of records and tables");
  text("resume", runs, s_.resume,
       "auto (continue the run in the output folder if there is one), never, or the path of a "
       "checkpoint");

  text("template", data_makers | generators, s_.template_name,
       "chat format by name, auto (from the model folder), rendered (the folder's own template; rendered:NAME for one "
       "of several), a .jinja file, or custom with the custom_template keys");
  text("template_values", data_makers | generators, s_.template_values,
       "variables for a rendered template, as JSON: {\"enable_thinking\": false}");
  text("template_date", data_makers | generators, s_.template_date,
       "the date that a rendered template writes, as 2024-07-26; empty: today");
  template_strings& t = s_.custom_template;
  const auto form = [&](const char* key, std::string& target, const char* help) {
    text(std::string("custom_template_") + key, data_makers | generators, target, help);
  };
  form("begin", t.begin, "custom template: control tokens at the very beginning");
  form("system_prefix", t.system_prefix, "custom template: before the system message");
  form("system_suffix", t.system_suffix, "custom template: after the system message");
  form("user_prefix", t.user_prefix, "custom template: before a user message; {round} becomes its number");
  form("user_suffix", t.user_suffix, "custom template: after a user message");
  form("assistant_prefix", t.assistant_prefix, "custom template: before an answer");
  form("assistant_suffix", t.assistant_suffix, "custom template: after an answer, trained");
  form("turn_separator", t.turn_separator, "custom template: between an answer and the next user message");
  text("custom_template_end_token", data_makers | generators, t.end_token,
       "custom template: ends an answer; {eos} is the model's end-of-sequence token", true);
  form("default_system", t.default_system, "custom template: the system message where a conversation has none");
  truth("custom_template_system_in_user_turn", data_makers | generators, t.system_in_user_turn,
        "custom template: the system message stands inside the first user turn");
  truth("custom_template_trim", data_makers | generators, t.trim, "custom template: strip white space around messages");

  choice("targets", data_makers, s_.targets, {"all-answers", "last-answer", "all-tokens"}, "what is trained");
  whole("max_tokens", data_makers, s_.max_tokens, 0,
        "longest example; 0: what a pack or shared stream holds, else no limit");
  choice("over_long", data_makers, s_.over_long,
         {"error", "drop", "truncate-left", "truncate-right", "truncate-middle", "split"},
         "what becomes of longer ones");
  truth("keep_answers", data_makers, s_.keep_answers, "truncation shortens questions and documents, never answers");
  truth("end_of_text", data_makers, s_.end_of_text, "plain documents end with the end-of-sequence token");
  truth("join_turns", data_makers, s_.join_turns, "two turns of one role in a row become one (else an error)");
  truth("strip_zero_width", data_makers, s_.strip_zero_width, "remove zero-width characters from answers");
  choice("content", data_makers, s_.content, {"literal", "parse"}, "control tokens spelled out in messages");
  choice("joint", data_makers, s_.joint, {"continuous", "separate"}, "how the pieces of a conversation are tokenised");
  choice("no_targets", data_makers, s_.no_targets, {"error", "drop", "keep"}, "examples without anything to train on");
  choice("faults", data_makers, s_.faults, {"error", "skip"}, "records that cannot be read");
  truth("original_end_labels", data_makers, s_.original_end_labels, "end-token labels as in LongAlign's own code");
  choice("plain_prompt", data_makers, s_.plain_prompt, {"text", "chat"},
         "preferences: a prompt that is text stays plain text, or becomes a user message");
  text("context_form", data_makers | synthesise, s_.context_form,
       "preferences: the user message of a {context} and a {question}");
  text("chunk_separator", data_makers | synthesise, s_.chunk_separator,
       "preferences: text between the chunks of a context");
  truth("score_header", data_makers, s_.score_header,
        "preferences: the header that the chat format writes in front of an answer is scored with it");

  choice("batching", trainers, s_.batching, {"naive", "sorted", "packed", "original", "shared-prefix", "separate"},
         "which examples share a stream; preferences: the prompt once with all its answers, or answer by answer");
  choice("packing", trainers, s_.packing, {"next-fit", "first-fit-decreasing", "best-fit-decreasing"},
         "how packs are filled");
  whole("tokens", data_makers, s_.tokens, 0, "tokens of a pack or shared stream");
  whole("packing_window", trainers, s_.packing_window, 0, "examples that are packed together; 0: all");
  whole("packs_per_step", trainers, s_.packs_per_step, 0, "content of an optimiser step, in packs");
  whole("sequences_per_step", trainers, s_.sequences_per_step, 0, "or in sequences");
  whole("groups_per_step", plan | prefer, s_.groups_per_step, 0, "or in preference groups");
  whole("tokens_per_step", trainers, s_.tokens_per_step, 0,
        "or in tokens (default: 8 packs, 8 sequences or 64 preference groups)");
  whole("group", trainers, s_.group, 1, "sorted batching: neighbours in length that stay together");
  whole("group_tokens", trainers, s_.group_tokens, 0,
        "sorted batching: neighbours share streams of up to so many tokens; 0: one sequence each");
  choice("normaliser", sft, s_.normaliser, {"sequence", "token", "pack", "constant", "user"},
         "the loss is a mean over sequences (LongAlign's loss weighting), tokens or packs, or divided by divisor");
  number("divisor", sft, s_.divisor, "of the normalisers constant and user");
  choice("loss", prefer | score, s_.loss, {"logo", "simpo", "cpo", "orpo", "dpo", "chosen"},
         "of preference groups; chosen: supervised fine-tuning on the chosen answers");
  number("beta", prefer | score, s_.beta,
         "scale of the rewards (default: logo 10, simpo 2, cpo and dpo 0.1; orpo has none)");
  number("gamma", prefer, s_.gamma, "logo and simpo: margin that the chosen answer must win by");
  number("gamma_beta_ratio", prefer, s_.gamma_beta_ratio,
         "or as gamma / beta (default: logo 0.3, simpo 0.25)");
  number("sft_weight", prefer, s_.sft_weight,
         "weight of the supervised term (default: logo 0.1, cpo and orpo 1, dpo 0; simpo has none)");
  choice("sft_term", prefer, s_.sft_term, {"token-mean", "token-sum"}, "what the supervised term is");
  number("penalty_weight", prefer, s_.penalty_weight, "orpo: weight of the odds ratio (default 0.1)");
  choice("penalty", prefer, s_.penalty, {"sigmoid", "hinge"}, "how the margin is punished");
  number("label_smoothing", prefer, s_.label_smoothing, "probability that a pair is labelled wrongly (sigmoid)");
  choice("length_normalised", prefer | score, s_.length_normalised, {"auto", "yes", "no"},
         "rewards are means over an answer's tokens, not sums (auto: yes for logo, simpo and orpo)");
  choice("position", trainers, s_.position,
         {"contiguous", "absolute", "logo-continuous", "logo-sparse", "logo-mix", "pose", "randpos",
          "original-notebook", "original-sparse", "original-continue"},
         "position ids start at 0 in each sequence, run on through the pack as in LongAlign's own code, or are spread "
         "over position_window: LOGO's, PoSE's, RandPos's, those of LOGO's own code");
  whole("position_window", trainers, s_.position_window, 0,
        "ids of the window that is trained for; plan prints how they are covered");
  whole("position_chunk", trainers, s_.position_chunk, 1, "logo and original: tokens of a chunk of the context");
  whole("position_question", trainers, s_.position_question, 0,
        "logo and original: tokens in front of the answer that stay beside it");
  choice("position_tail", trainers, s_.position_tail, {"adjacent", "far-end"},
         "logo: question and answer stand behind the context, or at the end of the window");
  number("position_continuous", trainers, s_.position_continuous,
         "logo-mix: share of samples with chunks in one piece");
  number("rope_base", data_makers | model_runners, s_.rope_base, "replaces the model's rope_theta (LongAlign: 2e6)");
  choice("rope_scaling", trainers | model_runners, s_.rope_scaling,
         {"keep", "none", "linear", "dynamic", "yarn", "llama3"}, "replaces the model's RoPE scaling");
  number("rope_factor", trainers | model_runners, s_.rope_factor, "of the RoPE scaling");
  whole("rope_original_max_positions", trainers | model_runners, s_.rope_original_max_positions, 1,
        "context that the model was pretrained with (yarn, llama3)");
  whole("max_positions", trainers | model_runners, s_.max_positions, 1,
        "max_position_embeddings of the trained model (dynamic scaling depends on it)");

  whole("lora_rank", trainers, s_.lora_rank, 0, "train low-rank adapters of this rank, the weights frozen; 0: none");
  number("lora_alpha", trainers, s_.lora_alpha, "adapters are scaled by lora_alpha / lora_rank");
  truth("lora_stabilised", trainers, s_.lora_stabilised, "scale by lora_alpha / sqrt(lora_rank) (rsLoRA)");
  text_list("lora_targets", trainers, s_.lora_targets, {},
            "modules with adapters: ends of names (q_proj), names with *, or all-linear (default: queries, keys, "
            "values and output of the attention)");
  truth("lora_embeddings", trainers, s_.lora_embeddings, "train the embedding and the head in full beside adapters");
  truth("lora_norms", trainers, s_.lora_norms, "train the norms in full beside adapters");
  text("adapter", plan | model_runners | merge, s_.adapter,
       "PEFT adapter folder (or run folder with one): applied to the model; sft: trained further");

  number("learning_rate", runs, s_.learning_rate, "peak learning rate");
  choice("schedule", runs, s_.schedule, {"constant", "linear", "cosine"}, "of the learning rate after the warm-up");
  number("warmup_ratio", runs, s_.warmup_ratio, "share of the steps that warm up");
  whole("warmup_steps", runs, s_.warmup_steps, 0, "wins over the ratio when positive");
  number("learning_rate_floor", runs, s_.learning_rate_floor, "what the schedule ends at, as a share of the peak");
  number("beta1", runs, s_.beta1, "AdamW: memory of the mean gradient");
  number("beta2", runs, s_.beta2, "AdamW: memory of the squared gradient");
  number("epsilon", runs, s_.epsilon, "AdamW: added to the root");
  number("weight_decay", runs, s_.weight_decay, "decoupled weight decay");
  choice("decay", runs, s_.decay, {"matrices", "matrices-but-embeddings", "everything"}, "what decays");
  number("clip", runs, s_.clip, "largest global gradient norm; 0: no clipping");

  whole("epochs", runs, s_.epochs, 1, "passes over the data");
  whole("max_steps", runs, s_.max_steps, 0, "stop after so many steps; 0: after the epochs");
  whole("seed", data_makers | generators, s_.seed, 0, "of every random choice");
  whole("save_every", runs, s_.save_every, 0, "steps between checkpoints; 0: only at the end and on a signal");
  whole("keep_last", runs, s_.keep_last, 0, "newest checkpoints that are kept; 0: all");
  truth("keep_best", runs, s_.keep_best, "keep the checkpoint with the lowest held-out loss too");
  whole("evaluate_every", runs, s_.evaluate_every, 0, "steps between evaluations of held_out; 0: before and after");
  whole("position_bucket", runs, s_.position_bucket, 0, "tokens a bucket of the held-out loss by position; 0: none");
  truth("rehearse", runs, s_.rehearse, "run the largest micro-batch once before the first step");
  choice("activations", trainers, s_.activations,
         {"automatic", "keep-all", "keep-attention", "checkpoint", "offload-inputs", "offload"},
         "what is kept between forward and backward; automatic: as much as fits, see plan");
  number("memory_budget", trainers, s_.memory_budget,
         "GiB that weights, training state and activations may take (activations automatic); 0: what is free");
  number("host_memory_budget", trainers, s_.host_memory_budget,
         "GiB of the host's memory for tensors that wait there (activations automatic); -1: half of what is free");
  choice("backend", plan | model_runners | demo, s_.backend, {"host", "cuda"}, "where the model is computed");
  choice("dtype", plan | model_runners | demo, s_.dtype, {"auto", "bf16", "f32", "f64"},
         "arithmetic; auto: f32 on the host, bf16 with f32 master weights on a GPU");
  choice("export_model", runs, s_.export_model, {"last", "best"},
         "which weights become the model: those of the last step, or of the lowest held-out loss");
  choice("export_dtype", runs | merge, s_.export_dtype, {"same", "f32", "bf16", "f16", "f64"},
         "of the written model; same: as the model folder, and f32 for adapters");
  whole("threads", tokenize | data_makers | model_runners | merge | demo, s_.threads, 0,
        "0: as many as the machine has");
  whole("ranks", runs, s_.ranks, 1, "ranks of this process, which share the threads");
  truth("progress", runs | eval, s_.progress, "progress on standard error");
  truth("metrics", runs, s_.metrics, "metrics.jsonl");
  truth("tensorboard", runs, s_.tensorboard, "TensorBoard event files");
  truth("report", runs | eval, s_.report, "report.html");

  truth("overwrite", prepare | merge, s_.overwrite, "replace an output that exists");
  whole_list("plan_ranks", plan, s_.plan_ranks, "numbers of ranks to predict step times for");
  text_list("compare", plan, s_.compare, {"naive", "sorted", "packed", "original"}, "strategies to compare");

  text("text_file", tokenize, s_.text_file, "the text (with --decode: a JSON array of ids); - is standard input");
  truth("special", tokenize, s_.special, "begin-of-sequence and other tokens that the tokenizer adds");
  truth("decode", tokenize, s_.decode, "from ids to text");
  text("prompt", generate, s_.prompt, "the text to continue");
  text("prompt_file", generate, s_.prompt_file, "a file that holds it; - is standard input");
  truth("chat", generate, s_.chat, "the prompt is a question: write it in the chat format");
  text("system", generators, s_.system, "the system message in front of a conversation");
  whole("max_new_tokens", generators & ~eval, s_.max_new_tokens, 1, "tokens of an answer at most");
  whole("min_new_tokens", generators & ~eval, s_.min_new_tokens, 0, "tokens before an answer may end");
  number("repetition_penalty", generators, s_.repetition_penalty, "makes tokens that were there less likely; 1: off");
  number("temperature", generators, s_.temperature, "0: the most likely token; 1: the model's own distribution");
  whole("top_k", generators, s_.top_k, 0, "draw among the k most likely tokens; 0: all");
  number("top_p", generators, s_.top_p, "draw among the fewest tokens that reach this probability together; 1: all");
  number("min_p", generators, s_.min_p, "draw among tokens at least this share as likely as the most likely; 0: all");
  texts("stop", generators & ~eval, s_.stop, "an answer ends before this text; may be repeated");
  whole("at_once", generators, s_.at_once, 1, "answers that are made at once");
  whole("cache_tokens", generators, s_.cache_tokens, 0,
        "tokens of all answers at once that keys and values are kept of; 0: as many as memory holds");
  text_list("tasks", eval, s_.tasks, {}, "what is asked: NAME or NAME:FILE; an unknown name lists all");
  whole_list("lengths", eval, s_.lengths, "tokens of whole prompts, of tests that are made on the spot");
  number_list("depths", eval, s_.depths, "needle: percent of the text in front of it");
  whole("repeats", eval, s_.repeats, 1, "tests that are made on the spot: questions of each length (and depth)");
  whole("questions", eval, s_.questions, 0, "only the first questions of each task; 0: all");
  whole("shots", eval, s_.shots, 0,
        "mmlu, arc_easy, arc_challenge, hellaswag: answered examples before each question (default: mmlu 5, others 0)");
  text_list("shots_from", eval, s_.shots_from, {},
            "where they come from, as NAME:FILE for each task, such as its training split (default: mmlu's dev)");
  whole("window", eval, s_.window, 0,
        "tokens of prompt and answer: longer prompts are cut in their middle; 0: what the model's config.json says");
  choice("prompts", eval, s_.prompts, {"auto", "chat", "plain"},
         "questions in the chat format or as plain text; auto: as the model's folder has a format");
  text("haystack", eval, s_.haystack, "needle: a text file, or a folder of .txt files (default: speeches)");
  text("needle_fact", eval, s_.needle_fact, "needle: the sentence that is hidden, with {key} and {value}");
  text("needle_question", eval, s_.needle_question, "needle: what is asked, with {key}");
  text("needle_answer", eval, s_.needle_answer, "needle: what the answer must hold");
  text("needle_prompt", eval, s_.needle_prompt, "needle: the prompt, with {context} and {question}");
  whole("needle_values", eval, s_.needle_values, 1, "needle: facts about the key, all of which are asked for");
  whole("sliding_window", eval, s_.sliding_window, 0,
        "perplexity: tokens that a prediction sees at most; 0: all before it");
  whole("stride", eval, s_.stride, 0, "perplexity: predictions of a window that count; 0: a quarter of it");
  whole("document_tokens", eval, s_.document_tokens, 0, "perplexity: only the first of a document; 0: all");
  text("key_tokens", eval, s_.key_tokens,
       "long_perplexity: JSONL of key tokens that were found before (default: they are looked for)");
  text("evaluator_model", eval, s_.evaluator_model,
       "long_perplexity: model folder that finds the key tokens, left in key_tokens.jsonl (default: the model itself)");
  whole("key_context", eval, s_.key_context, 1, "long_perplexity: the evaluator's tokens of a short context");
  whole("key_step", eval, s_.key_step, 1,
        "long_perplexity: tokens that share the beginning of a short context, which so has up to this many more");
  number("key_gain", eval, s_.key_gain,
         "long_perplexity: a key token's loss falls by more than this from a short context to all before it");
  number("key_loss", eval, s_.key_loss, "long_perplexity: a key token's loss with all before it is less than this");
  choice("key_edges", eval, s_.key_edges, {"trimmed", "whole"},
         "long_perplexity: the evaluator's tokens without the spaces at their edges (Llama-3, GPT-2) or with them "
         "(Llama-2)");
  choice("token_edges", eval, s_.token_edges, {"trimmed", "whole"},
         "long_perplexity: the same for the tokens of the model that is measured");
  text("chinese_words", eval, s_.chinese_words,
       "benchmarks: dictionary of jieba that cuts Chinese answers into words (default: characters are compared)");
  text("judge_template", eval, s_.judge_template,
       "longbench_chat: the judge's prompt, with {} slots; longbench_rated: that for answers, with {question}, "
       "{reference} and {answer}; mt_bench: a judge_prompts.jsonl (default: the published ones)");
  text("summary_template", eval, s_.summary_template,
       "longbench_rated: the judge's prompt for summaries, with {reference} and {answer} (default: the published one)");
  whole("judge_runs", eval, s_.judge_runs, 1, "longbench_chat: ratings of each answer, which are averaged");
  text("human_scores", eval, s_.human_scores,
       "JSONL with id (TASK/ID) and score: rank correlations with them are computed");
  whole("needle_others", eval, s_.needle_others, 0, "needle and facts: facts about other keys");

  choice("method", synthesise, s_.method, {"logo", "longalign"},
         "logo: preference pairs from important and other chunks; longalign: questions about documents with answers");
  text("documents", synthesise, s_.documents, "a .txt, .md, .jsonl or .json file, or a folder of them");
  text("output", synthesise, s_.output, "NAME.jsonl; the stages stand beside it as NAME.STAGE.jsonl");
  text("questions_file", synthesise, s_.questions_file,
       "logo: JSONL with document, question and perhaps answer (default: the model writes them)");
  text("tokenizer", eval | synthesise, s_.tokenizer,
       "folder with the tokenizer of the model that is measured or trained (default: that of --model; longalign counts "
       "characters without one)");
  text("judge_model", eval | synthesise, s_.judge_model,
       "model folder of a judge that rates answers, in place of judge_endpoint (default: none)");
  text("scores", synthesise, s_.scores, "logo: JSONL with id and scores of each question, made elsewhere");
  truth("scores_only", synthesise, s_.scores_only, "logo: stop when chunks, questions and scores are written");
  truth("accept_failures", eval | synthesise, s_.accept_failures,
        "end without what could not be answered (else the same command asks again)");
  whole("chunk_tokens", synthesise, s_.chunk_tokens, 8, "logo: tokens of a chunk at most");
  choice("chunk_end", synthesise, s_.chunk_end, {"word", "token"}, "logo: where chunks end");
  choice("selection", synthesise, s_.selection, {"rank", "threshold", "original"},
         "logo: important chunks are those of the highest scores, those above a threshold (the paper), or chosen as "
         "in LOGO's released code");
  number("threshold", synthesise, s_.threshold, "logo: delta, of selection = threshold");
  number("least_score", synthesise, s_.least_score, "logo: smallest score of an important chunk (not of threshold)");
  whole("important_chunks", synthesise, s_.important_chunks, 1, "logo: most chunks that an answer is made from");
  whole("context_chunks", synthesise, s_.context_chunks, 2, "logo: chunks of the context that is trained on");
  whole("rejected_answers", synthesise, s_.rejected_answers, 1, "logo: dis-preferred answers of a question");
  number("common_words", synthesise, s_.common_words,
         "logo: words in more than this share of all chunks do not count as shared");
  truth("score_answers", synthesise, s_.score_answers,
        "logo: names, numbers and words of a known answer count as those of the question do");
  number("least_metric", synthesise, s_.least_metric,
         "logo: a preferred answer must agree with the known one as much (0 to 1)");
  choice("prompt_as", synthesise, s_.prompt_as, {"chat", "text", "tokens"},
         "logo: chunks and question are put to the model in its chat format, as text, or as the ids that chunks have");
  truth("released_prompt", synthesise, s_.released_prompt,
        "logo: the prompt of the released code in place of context_form and chunk_separator");
  whole("document_count", synthesise, s_.document_count, 0, "longalign: documents that are drawn; 0: all");
  text_list("quotas", synthesise, s_.quotas, {}, "longalign: most documents of a source, as SOURCE=N");
  number("length_power", synthesise, s_.length_power,
         "longalign: documents are drawn in proportion to their length to this power");
  whole("shortest_document", synthesise, s_.shortest_document, 0, "longalign: tokens of a document at least");
  whole("longest_document", synthesise, s_.longest_document, 0, "longalign: tokens of a document at most; 0: no limit");
  choice("language", synthesise, s_.language, {"auto", "english", "chinese"}, "of prompts for questions");
  text_list("question_kinds", synthesise, s_.question_kinds, {"general", "summary", "reasoning", "information"},
            "kinds of questions to draw from (default: all)");
  whole("questions_per_prompt", synthesise, s_.questions_per_prompt, 1, "questions that the model writes at once");
  whole("prompts_per_document", synthesise, s_.prompts_per_document, 1, "prompts for questions about a document");
  whole("question_tokens", synthesise, s_.question_tokens, 1, "tokens of an answer with questions at most");
  whole("attempts", synthesise, s_.attempts, 1, "for an answer that has not the form that was asked for");

  text("endpoint", generators, s_.endpoint,
       "base of an OpenAI-compatible API that answers in place of a local model, such as http://localhost:8000/v1");
  text("endpoint_model", generators, s_.endpoint_model, "the model's name there");
  text("endpoint_key_variable", generators, s_.endpoint_key_variable,
       "the environment variable with the endpoint's key; unset: no key is sent");
  whole("endpoint_concurrency", generators, s_.endpoint_concurrency, 1, "requests to an endpoint at once");
  whole("endpoint_retries", generators, s_.endpoint_retries, 0, "of a request to an endpoint, after its first attempt");
  whole("endpoint_timeout", generators, s_.endpoint_timeout, 1, "seconds that one attempt may take");
  text("judge_endpoint", judged, s_.judge_endpoint, "base of the API where the judge is");
  text("judge_endpoint_model", judged, s_.judge_endpoint_model, "the judge's name there");
  text("judge_endpoint_key_variable", judged, s_.judge_endpoint_key_variable,
       "the environment variable with its key; unset: no key is sent");
  text("path", inspect, s_.path, "model folder, token store or run folder");
  text("output", demo, s_.output, "folder for the demonstration's files");
  truth("quick", demo, s_.quick, "a tenth of the steps: shows that everything runs, not what it reaches");
}

// --- The file --------------------------------------------------------------------------------------------------------

void read_file(table& options, const std::filesystem::path& name, const std::string& command,
               std::vector<std::string>& given) {
  toml::table file;
  try {
    const std::string text = lodestone::read_text(name);
    file = toml::parse(text, name.string());
  } catch (const toml::parse_error& failure) {
    throw config_error(std::string(failure.description()),
                       name.string() + ":" + std::to_string(failure.source().begin.line) + ":" +
                           std::to_string(failure.source().begin.column));
  }
  // [custom_template] is a table in the file and a prefix on the command line.
  std::vector<std::pair<std::string, const toml::node*>> entries;
  for (const auto& [key, value] : file) {
    if (key == "custom_template" && value.is_table()) {
      for (const auto& [inner, text] : *value.as_table())
        entries.emplace_back("custom_template_" + std::string(inner.str()), &text);
    } else {
      entries.emplace_back(std::string(key.str()), &value);
    }
  }
  std::ranges::sort(entries, {}, [](const auto& e) { return e.second->source().begin; });  // report the first fault
  for (const auto& [key, value] : entries) {
    const std::string where = name.string() + ":" + std::to_string(value->source().begin.line) + ": " + key;
    const option* found = options.find(key);
    if (found == nullptr) {
      const std::string near = nearest(key, options.keys());
      throw config_error("unknown key" + (near.empty() ? "" : ", did you mean \"" + near + "\"?"), where,
                         near.empty() ? "lodestone " + command + " --help lists the keys (as flags)" : "");
    }
    found->from_node(*value, where);
    given.push_back(key);
  }
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& names) {
  // Edit distance with transpositions (optimal string alignment); '-' and '_' are one character.
  const auto same = [](char a, char b) { return (a == '-' ? '_' : a) == (b == '-' ? '_' : b); };
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t n = word.size(), m = name.size();
    std::vector<std::vector<std::size_t>> d(n + 1, std::vector<std::size_t>(m + 1));
    for (std::size_t i = 0; i <= n; ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= m; ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= n; ++i)
      for (std::size_t j = 1; j <= m; ++j) {
        d[i][j] =
            std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (same(word[i - 1], name[j - 1]) ? 0 : 1)});
        if (i > 1 && j > 1 && same(word[i - 1], name[j - 2]) && same(word[i - 2], name[j - 1]))
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    if (d[n][m] < best_distance) {
      best_distance = d[n][m];
      best = name;
    }
  }
  return best;
}

request read_request(int argc, const char* const* argv) {
  request result;
  table options(result.values);

  CLI::App app{"Lodestone: long-context alignment of Llama-family language models"};
  app.name("lodestone");
  app.set_version_flag("--version", "lodestone " + std::string(LODESTONE_VERSION_STRING));
  app.footer(
      "Standard output carries results, standard error everything else. Exit status: 0 success (also when a signal\n"
      "stopped a run and its checkpoint is written), 1 failure, 2 wrong command line or configuration.");
  app.allow_extras();
  std::vector<std::string> command_names;
  struct raw_values {
    const option* what = nullptr;
    std::string text{};
    std::vector<std::string> texts{};
    CLI::Option* flag = nullptr;
  };
  std::vector<std::pair<CLI::App*, command>> subs;
  std::vector<std::unique_ptr<raw_values>> raw;
  std::string config;
  for (const command_text& c : commands) {
    command_names.emplace_back(c.name);
    result.values = default_settings(c.what);  // for the presets in --help
    CLI::App* sub = app.add_subcommand(c.name, c.help);
    sub->allow_extras();
    sub->fallthrough(false);
    subs.emplace_back(sub, c.what);
    if (c.what != command::doctor && c.what != command::inspect)
      sub->add_option("--config", config, "TOML file with the same keys, written with underscores")->type_name("FILE");
    for (const option& o : options.options()) {
      if ((o.commands & bit(c.what)) == 0) continue;
      raw_values& one = *raw.emplace_back(std::make_unique<raw_values>(raw_values{.what = &o}));
      const std::string preset = o.to_text();
      const std::string help = o.help + (preset.empty() || preset == "\"\"" ? "" : " (default " + preset + ")");
      if (o.is_switch) {
        sub->add_flag_function(
            flag(o.key) + ",!--no-" + flag(o.key).substr(2),
            [&one](std::int64_t count) { one.texts.assign(1, count > 0 ? "true" : "false"); }, help);
        continue;
      }
      const std::string name = o.key == "path" ? "path" : flag(o.key);
      one.flag =
          o.is_list ? sub->add_option(name, one.texts, help) : sub->add_option(name, one.text, help)->take_last();
      one.flag->type_name(o.kind);
      if (o.is_list) one.flag->allow_extra_args(false);  // the flag is repeated, or values are joined by commas
    }
  }
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, const_cast<char**>(argv));  // CLI11 2.1 does not change them
  } catch (const CLI::CallForHelp&) {
    throw early_exit{app.help()};
  } catch (const CLI::CallForAllHelp&) {
    throw early_exit{app.help("", CLI::AppFormatMode::All)};
  } catch (const CLI::CallForVersion& asked) {
    throw early_exit{std::string(asked.what()) + "\n"};
  } catch (const CLI::ParseError& failure) {
    throw config_error(failure.what(), "command line", "lodestone --help lists the commands");
  }
  const auto chosen = std::ranges::find_if(subs, [](const auto& s) { return s.first->parsed(); });
  if (chosen == subs.end()) {
    const std::vector<std::string> rest = app.remaining();
    if (rest.empty()) throw config_error("no command is given", "command line", "lodestone --help lists the commands");
    const std::string near = nearest(rest.front(), command_names);
    throw config_error("unknown command \"" + rest.front() + "\"" +
                           (near.empty() ? "" : ", did you mean \"" + near + "\"?"),
                       "command line", "lodestone --help lists the commands");
  }
  result.what = chosen->second;
  const std::string name = chosen->first->get_name();
  result.values = default_settings(result.what);
  if (const std::vector<std::string> rest = app.remaining(true); !rest.empty()) {
    std::vector<std::string> flags{"--config", "--help"};
    for (const option& o : options.options())
      if ((o.commands & bit(result.what)) != 0) {
        flags.push_back(flag(o.key));
        if (o.is_switch) flags.push_back("--no-" + flag(o.key).substr(2));
      }
    const std::string word = rest.front().substr(0, rest.front().find('='));
    const std::string near = word.starts_with('-') ? nearest(word, flags) : "";
    throw config_error((word.starts_with('-') ? "unknown flag \"" : "unexpected argument \"") + word + "\"" +
                           (near.empty() ? "" : ", did you mean \"" + near + "\"?"),
                       "lodestone " + name, "lodestone " + name + " --help lists the flags");
  }
  if (!config.empty()) {
    result.config = config;
    read_file(options, config, name, result.given);
  }
  for (const auto& one : raw) {
    if (one->flag != nullptr && one->flag->count() > 0 && !one->what->is_list) one->texts.assign(1, one->text);
    if (one->texts.empty()) continue;
    one->what->from_text(one->texts);
    result.given.push_back(one->what->key);
  }
  const bool has_strings =
      std::ranges::any_of(result.given, [](const auto& k) { return k.starts_with("custom_template_"); });
  if (has_strings && std::ranges::find(result.given, "template") == result.given.end())
    result.values.template_name = "custom";
  if (has_strings && result.values.template_name != "custom")
    throw config_error("strings of a custom template stand beside template = \"" + result.values.template_name + "\"",
                       "custom_template", "set template = \"custom\", or remove the strings");
  check(result.what, result.values);
  if ((bit(result.what) & data_makers) != 0) resolve(result.values);
  return result;
}

settings default_settings(command what) {
  settings s;
  for (const command_text& c : commands)
    if (c.what == what) s.command = c.name;
  if (what == command::prefer || what == command::ablate) {
    s.batching = "shared-prefix";
    s.learning_rate = 5e-7;  // of LOGO's released scripts
    s.epochs = 1;
  }
  if (what == command::ablate) s.position = "logo-mix";
  if (what == command::synthesise) {
    s.temperature = 0.7;  // of LOGO's released code
    s.top_p = 0.95;
    s.max_new_tokens = 512;
  }
  return s;
}

void resolve(settings& s) {
  const bool packs = s.batching == "packed" || s.batching == "original" || s.batching == "shared-prefix";
  if (s.packs_per_step == 0 && s.sequences_per_step == 0 && s.tokens_per_step == 0 && s.groups_per_step == 0) {
    if (is_for_groups(s.batching))
      s.groups_per_step = 64;
    else
      (packs ? s.packs_per_step : s.sequences_per_step) = 8;
  }
  const std::int64_t room = packs ? s.tokens : s.batching == "sorted" ? s.group_tokens : 0;
  if (s.max_tokens == 0) s.max_tokens = room;
  if (room > 0 && s.max_tokens > room)
    throw config_error(
        "examples of up to " + std::to_string(s.max_tokens) + " tokens do not fit into " + std::to_string(room),
        "max_tokens", packs ? "raise tokens, or lower max_tokens" : "raise group_tokens, or lower max_tokens");
}

void check(command what, const settings& s) {
  const auto need = [](bool present, const char* key, const char* why) {
    if (!present) throw config_error(std::string("is not given; ") + why, flag(key));
  };
  const bool runs_training = what == command::sft || what == command::prefer || what == command::ablate;
  const bool compares = what == command::prefer || what == command::ablate;
  const bool trains = runs_training || what == command::plan;
  if (what == command::tokenize) need(!s.model.empty(), "model", "name the model folder or its tokenizer.json");
  if (what == command::prepare || trains || what == command::score || what == command::merge)
    need(!s.model.empty(), "model", "name the model folder");
  if (what == command::generate || what == command::chat || what == command::eval || what == command::synthesise) {
    need(!s.model.empty() || !s.endpoint.empty(), "model", "name the model folder, or an endpoint");
    if (!s.model.empty() && !s.endpoint.empty())
      throw config_error("a local model is named too", "endpoint", "give either --model or --endpoint");
  }
  if (!s.endpoint.empty()) need(!s.endpoint_model.empty(), "endpoint_model", "name the model at the endpoint");
  if (!s.judge_endpoint.empty())
    need(!s.judge_endpoint_model.empty(), "judge_endpoint_model", "name the judge at its endpoint");
  if (what == command::prepare || trains || what == command::score)
    need(!s.data.empty(), "data", "name a file, or add a [[data]] table to the configuration");
  if (what == command::prepare) need(!s.output.empty(), "output", "name the file of the token store");
  if (runs_training) need(!s.output.empty(), "output", "name a folder for the trained model");
  if (what == command::ablate) {
    need(!s.held_out.empty(), "held_out", "the runs are compared on data that none is trained on");
    if (!is_synthetic(s.position))
      throw config_error("the runs differ in their positions, and " + s.position + " is the normal kind", "position",
                         "name synthetic positions, such as logo-mix, and position_window");
    if (s.loss == "chosen")
      throw config_error("the runs differ in their loss, and chosen is the supervised one", "loss", "give logo");
  }
  if (what == command::merge) {
    need(!s.adapter.empty(), "adapter", "name the adapter folder");
    need(!s.output.empty(), "output", "name a folder for the merged model");
  }
  if (what == command::tokenize) need(!s.text_file.empty(), "text_file", "name a file, or - for standard input");
  if (what == command::generate)
    need(!s.prompt.empty() + !s.prompt_file.empty() + !s.data.empty() == 1, "prompt",
         "give one of --prompt, --prompt-file and --data");
  if (what == command::eval) {
    need(s.endpoint.empty() || !s.tokenizer.empty(), "tokenizer",
         "name a folder with the tokenizer of the model behind the endpoint: prompts are measured with it");
    need(!s.tasks.empty(), "tasks", "name some, such as needle,ruler");
    need(!s.output.empty(), "output", "name a folder for records and tables");
  }
  if (what == command::inspect) need(!s.path.empty(), "path", "name a folder or file: lodestone inspect PATH");
  if (trains) {
    const int contents = (s.packs_per_step > 0) + (s.sequences_per_step > 0) + (s.tokens_per_step > 0) +
                         (s.groups_per_step > 0);
    if (contents > 1)
      throw config_error("the content of a step is given more than once", "packs_per_step",
                         "give one of packs_per_step, sequences_per_step, groups_per_step, tokens_per_step");
    if (compares && !is_for_groups(s.batching))
      throw config_error("batching = " + s.batching + " would tear preference groups apart", "batching",
                         "use shared-prefix or separate");
    if (what == command::sft && is_for_groups(s.batching))
      throw config_error("batching = " + s.batching + " is for preference groups", "batching",
                         "use packed, sorted or naive; lodestone prefer trains on preferences");
    if (is_for_groups(s.batching) ? s.sequences_per_step > 0 : s.groups_per_step > 0)
      throw config_error("batching = " + s.batching + " does not count in this unit",
                         is_for_groups(s.batching) ? "sequences_per_step" : "groups_per_step",
                         is_for_groups(s.batching) ? "give groups_per_step" : "give sequences_per_step");
    if (s.batching == "separate" && s.packs_per_step > 0)
      throw config_error("batching = separate has no packs", "packs_per_step",
                         "give groups_per_step or tokens_per_step");
    if (s.packs_per_step > 0 && (s.batching == "naive" || s.batching == "sorted"))
      throw config_error("batching = " + s.batching + " has no packs", "packs_per_step",
                         "give sequences_per_step or tokens_per_step");
    if (s.batching == "original" && s.packs_per_step == 0 && contents > 0)
      throw config_error("batching = original counts packs", "packs_per_step", "give packs_per_step");
    if ((s.batching == "packed" || s.batching == "original" || s.batching == "shared-prefix") && s.tokens < 2)
      throw config_error("a pack must hold at least 2 tokens", "tokens");
  }
  if (trains && s.lora_rank == 0 && s.adapter.empty() &&
      (!s.lora_targets.empty() || s.lora_stabilised || s.lora_embeddings || s.lora_norms))
    throw config_error("settings of adapters are given without a rank", "lora_rank", "set lora_rank, such as 16");
  if (trains && s.lora_rank > 0 && !s.adapter.empty())
    throw config_error("an adapter that is trained further keeps its own rank, alpha and targets", "lora_rank",
                       "remove the lora settings, or adapter");
  if (trains && is_synthetic(s.position) && s.position_window == 0)
    throw config_error("position = " + s.position + " needs the window that it spreads ids over", "position_window",
                       "give the context to train for, such as 65_536");
  if (trains && s.position_window > (std::int64_t{1} << 31))
    throw config_error("position ids are 32-bit integers", "position_window", "give 2_147_483_648 or less");
  if (trains && !(s.position_continuous >= 0.0 && s.position_continuous <= 1.0))
    throw config_error("must lie in [0, 1]", "position_continuous");
  if (trains && !(s.memory_budget >= 0.0)) throw config_error("must be 0 (what is free) or positive", "memory_budget");
  if (trains && !(s.host_memory_budget >= 0.0 || s.host_memory_budget == -1.0))
    throw config_error("must be -1 (half of what is free), 0 or positive", "host_memory_budget");
  if (runs_training) {
    if (!(s.warmup_ratio >= 0.0 && s.warmup_ratio <= 1.0)) throw config_error("must lie in [0, 1]", "warmup_ratio");
    if (!(s.learning_rate >= 0.0)) throw config_error("must not be negative", "learning_rate");
    if (s.export_model == "best" && (s.held_out.empty() || !s.keep_best))
      throw config_error("the best model needs held_out data and keep_best", "export_model",
                         "add them, or export the last");
    if (!(s.clip >= 0.0)) throw config_error("must be 0 (off) or positive", "clip");
  }
  if (what == command::synthesise) {
    need(!s.method.empty(), "method", "give logo or longalign");
    need(!s.documents.empty(), "documents", "name a file, or a folder of .txt, .md and .jsonl files");
    need(!s.output.empty(), "output", "name the file of the training data, NAME.jsonl");
  }
  if (what == command::generate || what == command::chat || what == command::eval || what == command::synthesise)
    lodestone::generate::check(
        lodestone::generate::sampling{s.repetition_penalty, s.temperature, s.top_k, s.top_p, s.min_p});
}

namespace {

/// The commands whose options a file of these settings holds: their own and, for prepare, those of plan and sft too,
/// since a run goes on from its file.
unsigned of_command(const settings& values) {
  for (const command_text& c : commands)
    if (values.command == c.name && (bit(c.what) & (runs | eval)) != 0) return bit(c.what);
  return data_makers & ~prefer;
}

}  // namespace

std::string to_toml(const settings& values) {
  settings copy = values;  // the table binds to an object that it may write to
  const table options(copy);
  std::string text, form;
  for (const option& o : options.options()) {
    if ((o.commands & of_command(values)) == 0 || o.key == "overwrite") continue;
    const std::string value = o.to_text();
    if (value.empty()) continue;
    constexpr std::string_view prefix = "custom_template_";
    if (o.key.starts_with(prefix))
      form += o.key.substr(prefix.size()) + " = " + value + "\n";
    else
      text += o.key + " = " + value + "\n";
  }
  if (values.template_name == "custom") text += "\n[custom_template]\n" + form;
  for (const auto& [key, list] : {std::pair{"data", &copy.data}, std::pair{"held_out", &copy.held_out}})
    for (const data_source& source : *list) {
      text += "\n[[" + std::string(key) + "]]\npath = " + toml_text(source.path) + "\n";
      if (source.format != "auto") text += "format = " + toml_text(source.format) + "\n";
      if (source.weight) text += "weight = " + real(*source.weight) + "\n";
      if (source.count) text += "count = " + grouped(*source.count) + "\n";
    }
  return text;
}

std::vector<lodestone::setting> to_pairs(const settings& values) {
  settings copy = values;
  const table options(copy);
  std::vector<lodestone::setting> pairs;
  for (const option& o : options.options()) {
    if ((o.commands & of_command(values)) == 0 || o.key == "overwrite") continue;
    if (o.key.starts_with("custom_template_") && values.template_name != "custom") continue;
    if (const std::string value = o.to_text(); !value.empty()) pairs.push_back({o.key, value});
    for (const auto& [key, list] : {std::pair{"data", &copy.data}, std::pair{"held_out", &copy.held_out}}) {
      if (o.key != key) continue;
      for (const data_source& source : *list)
        pairs.push_back({key, source.path + (source.format == "auto" ? "" : ", format " + source.format) +
                                  (source.weight ? ", weight " + real(*source.weight) : "") +
                                  (source.count ? ", count " + grouped(*source.count) : "")});
    }
  }
  return pairs;
}

void save_settings(const settings& values, const std::filesystem::path& name) {
  lodestone::atomic_file file(name);
  const std::string command = values.command == "prepare" ? "sft" : values.command;
  file.write("# The resolved configuration. To run it again: lodestone " + command + " --config " +
             name.filename().string() + "\n" + to_toml(values));
  file.commit();
}

}  // namespace lodestone_cli
