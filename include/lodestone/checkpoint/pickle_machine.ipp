// Definitions of pickle_machine.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <optional>
#include <utility>

#include <lodestone/checkpoint/pickle_machine.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::pickle {

namespace detail {

LODESTONE_INLINE std::string conversion(const std::filesystem::path& file) {
  std::filesystem::path target = file.filename();
  target.replace_extension(".safetensors");
  std::string name = target.string();
  if (name.starts_with("pytorch_")) name.erase(0, 8);
  return "convert it with Python:\n"
         "  import torch, safetensors.torch\n"
         "  weights = torch.load(\"" +
         file.filename().string() +
         "\", map_location=\"cpu\", weights_only=True)\n"
         "  safetensors.torch.save_file({k: v.clone().contiguous() for k, v in weights.items()}, \"" +
         name + "\")";
}

[[nodiscard]] inline std::optional<dtype> storage_type(std::string_view global) {
  constexpr std::pair<std::string_view, dtype> types[] = {
      {"torch.DoubleStorage", dtype::f64},    {"torch.FloatStorage", dtype::f32}, {"torch.HalfStorage", dtype::f16},
      {"torch.BFloat16Storage", dtype::bf16}, {"torch.LongStorage", dtype::i64},  {"torch.IntStorage", dtype::i32},
      {"torch.ShortStorage", dtype::i16},     {"torch.CharStorage", dtype::i8},   {"torch.ByteStorage", dtype::u8},
      {"torch.BoolStorage", dtype::boolean}};
  for (const auto& [name, type] : types)
    if (name == global) return type;
  return std::nullopt;
}

LODESTONE_INLINE machine::machine(std::span<const std::byte> program, const std::filesystem::path& file)
    : program_(program), file_(file) {}

LODESTONE_INLINE void machine::push(const node&) { stack_.push_back(static_cast<std::uint32_t>(nodes_.size() - 1)); }

LODESTONE_INLINE std::size_t machine::floor() const { return marks_.empty() ? 0 : marks_.back(); }

LODESTONE_INLINE std::uint32_t machine::run() {
  for (;;) {
    const auto opcode = static_cast<unsigned char>(take(1)[0]);
    // clang-format off: a table
    switch (opcode) {
      case 0x80: (void)take(1); break;                // PROTO
      case 0x95: (void)take(8); break;                // FRAME
      case '}': push(make(kind::dictionary)); break;  // EMPTY_DICT
      case ']':
      case ')': push(make(kind::sequence)); break;             // EMPTY_LIST, EMPTY_TUPLE
      case '(': marks_.push_back(stack_.size()); break;        // MARK
      case 'N': push(make(kind::none)); break;                 // NONE
      case 0x88: push_integer(1, kind::boolean); break;        // NEWTRUE
      case 0x89: push_integer(0, kind::boolean); break;        // NEWFALSE
      case 'K': push_integer(number<std::uint8_t>()); break;   // BININT1
      case 'M': push_integer(number<std::uint16_t>()); break;  // BININT2
      case 'J': push_integer(number<std::int32_t>()); break;   // BININT
      case 0x8a: push_long(number<std::uint8_t>()); break;     // LONG1
      case 'G':
        (void)take(8);
        push(make(kind::real));
        break;                                                  // BINFLOAT: no tensor needs its value
      case 'X': push_text(number<std::uint32_t>()); break;      // BINUNICODE
      case 0x8c: push_text(number<std::uint8_t>()); break;      // SHORT_BINUNICODE
      case 0x8d: push_text(number<std::uint64_t>()); break;     // BINUNICODE8
      case 'q': memo_[number<std::uint8_t>()] = top(); break;   // BINPUT
      case 'r': memo_[number<std::uint32_t>()] = top(); break;  // LONG_BINPUT
      case 0x94: memo_.emplace(static_cast<std::uint32_t>(memo_.size()), top()); break;  // MEMOIZE
      case 'h': recall(number<std::uint8_t>()); break;                                   // BINGET
      case 'j': recall(number<std::uint32_t>()); break;                                  // LONG_BINGET
      case 't': push_sequence(take_to_mark()); break;                                    // TUPLE
      case 0x85: push_sequence(take_last(1)); break;                                     // TUPLE1
      case 0x86: push_sequence(take_last(2)); break;                                     // TUPLE2
      case 0x87: push_sequence(take_last(3)); break;                                     // TUPLE3
      case 'a': extend(kind::sequence, take_last(1)); break;                             // APPEND
      case 'e': extend(kind::sequence, take_to_mark()); break;                           // APPENDS
      case 's': extend(kind::dictionary, take_last(2)); break;                           // SETITEM
      case 'u': extend(kind::dictionary, take_to_mark()); break;                         // SETITEMS
      case 'c': {                                                                        // GLOBAL
        const auto module = line();
        push_global(module, line());
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const auto parts = take_last(2);
        push_global(text_of(parts[0]), text_of(parts[1]));
        break;
      }
      case 'Q': push_storage(pop()); break;  // BINPERSID
      case 'R': {                            // REDUCE
        const auto parts = take_last(2);
        push(call(parts[0], parts[1]));
        break;
      }
      case 'b':  // BUILD: a state_dict's own _metadata
        (void)pop();
        if (at(top()).kind != kind::dictionary) refuse("state for something else than a dictionary");
        break;
      case '.': return pop();  // STOP
      default: refuse("the pickle opcode " + std::to_string(opcode));
    }
    // clang-format on
  }
}

LODESTONE_INLINE std::string_view machine::text_of(std::uint32_t index) const {
  if (at(index).kind != kind::text) refuse("a name that is not a string");
  return at(index).text;
}

LODESTONE_INLINE void machine::refuse(const std::string& what) const {
  throw format_error("holds " + what + "; only a dictionary of tensors is read, and no code is run", file_.string(),
                     conversion(file_));
}

LODESTONE_INLINE std::span<const std::byte> machine::take(std::uint64_t count) {
  if (count > program_.size()) throw format_error("the pickle ends early", file_.string(), conversion(file_));
  const auto taken = program_.first(static_cast<std::size_t>(count));
  program_ = program_.subspan(static_cast<std::size_t>(count));
  return taken;
}

LODESTONE_INLINE std::string_view machine::line() {
  const auto* begin = reinterpret_cast<const char*>(program_.data());
  const void* end = program_.empty() ? nullptr : std::memchr(begin, '\n', program_.size());
  if (end == nullptr) throw format_error("the pickle ends early", file_.string(), conversion(file_));
  const auto size = static_cast<std::size_t>(static_cast<const char*>(end) - begin);
  (void)take(size + 1);
  return {begin, size};
}

LODESTONE_INLINE node& machine::make(detail::kind kind) {
  nodes_.emplace_back();
  nodes_.back().kind = kind;
  return nodes_.back();
}

LODESTONE_INLINE void machine::push_integer(std::int64_t value, detail::kind kind) {
  node& result = make(kind);
  result.integer = value;
  push(result);
}

LODESTONE_INLINE void machine::push_long(std::size_t bytes) {
  if (bytes > 8) refuse("an integer past 64 bits");
  const auto digits = take(bytes);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= static_cast<std::uint64_t>(digits[i]) << (8 * i);
  if (bytes > 0 && bytes < 8 && (value >> (8 * bytes - 1)) != 0) value |= ~std::uint64_t{0} << (8 * bytes);
  push_integer(static_cast<std::int64_t>(value));
}

LODESTONE_INLINE void machine::push_text(std::uint64_t size) {
  const auto bytes = take(size);
  node& result = make(kind::text);
  result.text = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  push(result);
}

LODESTONE_INLINE void machine::push_sequence(std::vector<std::uint32_t> items) {
  node& result = make(kind::sequence);
  result.items = std::move(items);
  push(result);
}

LODESTONE_INLINE void machine::push_global(std::string_view module, std::string_view name) {
  std::string full = std::string(module) + "." + std::string(name);
  if (!storage_type(full) && full != "torch._utils._rebuild_tensor_v2" && full != "torch._utils._rebuild_parameter" &&
      full != "collections.OrderedDict")
    refuse("a reference to '" + full + "'");
  node& result = make(kind::global);
  result.owned = std::move(full);
  push(result);
}

LODESTONE_INLINE std::uint32_t machine::top() const {
  if (stack_.size() <= floor()) refuse("an operation on an empty stack");
  return stack_.back();
}

LODESTONE_INLINE std::uint32_t machine::pop() {
  const std::uint32_t value = top();
  stack_.pop_back();
  return value;
}

LODESTONE_INLINE std::vector<std::uint32_t> machine::take_last(std::size_t count) {
  if (stack_.size() < floor() + count) refuse("an operation on an empty stack");
  std::vector<std::uint32_t> taken(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  return taken;
}

LODESTONE_INLINE std::vector<std::uint32_t> machine::take_to_mark() {
  if (marks_.empty()) refuse("an operation without its mark");
  auto taken = take_last(stack_.size() - marks_.back());
  marks_.pop_back();
  return taken;
}

LODESTONE_INLINE void machine::recall(std::uint32_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) refuse("a reference to nothing");
  stack_.push_back(found->second);
}

LODESTONE_INLINE void machine::extend(detail::kind kind, const std::vector<std::uint32_t>& items) {
  node& target = nodes_[top()];
  if (target.kind != kind || (kind == kind::dictionary && items.size() % 2 != 0)) refuse("an impossible assignment");
  target.items.insert(target.items.end(), items.begin(), items.end());
}

LODESTONE_INLINE void machine::push_storage(std::uint32_t index) {
  const std::vector<std::uint32_t> items = at(index).items;
  if (at(index).kind != kind::sequence || items.size() != 5 || text_of(items[0]) != "storage" ||
      at(items[1]).kind != kind::global || at(items[4]).kind != kind::integer)
    refuse("a persistent object that is no storage");
  const auto type = storage_type(at(items[1]).owned);
  if (!type) refuse("a storage of type '" + at(items[1]).owned + "'");
  const std::string_view key = text_of(items[2]);
  const std::int64_t elements = at(items[4]).integer;
  node& result = make(kind::storage);
  result.type = *type;
  result.text = key;
  result.integer = elements;
  push(result);
}

LODESTONE_INLINE std::vector<std::int64_t> machine::sizes_of(std::uint32_t index) const {
  if (at(index).kind != kind::sequence) refuse("a tensor without sizes");
  std::vector<std::int64_t> sizes;
  for (const std::uint32_t item : at(index).items) {
    if (at(item).kind != kind::integer || at(item).integer < 0) refuse("a tensor with impossible sizes");
    sizes.push_back(at(item).integer);
  }
  return sizes;
}

LODESTONE_INLINE const node& machine::call(std::uint32_t function, std::uint32_t arguments) {
  if (at(function).kind != kind::global || at(arguments).kind != kind::sequence) refuse("a call of an object");
  const std::string name = at(function).owned;
  const std::vector<std::uint32_t> items = at(arguments).items;
  if (name == "collections.OrderedDict") {
    if (!items.empty()) refuse("an OrderedDict with arguments");
    return make(kind::dictionary);
  }
  if (name == "torch._utils._rebuild_parameter") {  // (tensor, requires_grad, hooks)
    if (items.empty() || at(items[0]).kind != kind::tensor) refuse("a parameter without a tensor");
    node copy = at(items[0]);
    return nodes_.emplace_back(std::move(copy));
  }
  if (name != "torch._utils._rebuild_tensor_v2") refuse("a call of '" + name + "'");
  // (storage, first element, sizes, strides, requires_grad, hooks[, metadata])
  if (items.size() < 6 || at(items[0]).kind != kind::storage || at(items[1]).kind != kind::integer)
    refuse("a tensor without a storage");
  std::vector<std::int64_t> shape = sizes_of(items[2]);
  std::vector<std::int64_t> strides = sizes_of(items[3]);
  if (shape.size() != strides.size()) refuse("a tensor whose sizes and strides differ in number");
  const std::int64_t first = at(items[1]).integer;
  node& result = make(kind::tensor);
  result.items = {items[0]};
  result.integer = first;
  result.type = at(items[0]).type;
  result.shape = std::move(shape);
  result.strides = std::move(strides);
  return result;
}

}  // namespace detail

}  // namespace lodestone::pickle

