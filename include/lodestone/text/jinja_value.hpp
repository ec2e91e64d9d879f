// Values of chat templates: what Python programs call None, bool, int, float, str, list, tuple, dict and namespace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::jinja {

/// What a template does with a value is not possible; the interpreter adds the place.
class evaluation_error : public error {
  using error::error;
};

/// Bytes [begin, end) of a text that came from data, not from the template; `source` says from which.
struct mark {
  std::size_t begin = 0;    ///< first byte
  std::size_t end = 0;      ///< behind the last byte
  std::int32_t source = 0;  ///< the number that value::data() was given
  friend bool operator==(const mark&, const mark&) = default;
};

/// A string that knows which of its bytes are data: concatenation, slices, strip, split, replace and the like keep the
/// marks of every byte; what mixes bytes otherwise marks its whole result.
class text {
 public:
  /// Empty, or the bytes of a template, unmarked.
  ///@{
  text() = default;
  explicit text(std::string bytes) : bytes_(std::move(bytes)) {}
  ///@}
  /// All bytes come from `source`.
  text(std::string bytes, std::int32_t source);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }        ///< UTF-8
  [[nodiscard]] const std::vector<mark>& marks() const { return marks_; }  ///< ascending, disjoint, not empty
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }         ///< bytes

  /// Appends, with marks.
  ///@{
  void append(std::string_view unmarked) { bytes_ += unmarked; }
  void append(const text& other) { append(other, 0, other.size()); }
  void append(const text& other, std::size_t begin, std::size_t end);
  ///@}
  /// Appends bytes that come from `source`.
  void append_data(std::string_view bytes, std::int32_t source);
  /// Bytes [begin, end) with their marks.
  [[nodiscard]] text part(std::size_t begin, std::size_t end) const;
  /// `bytes` made of this text in a way that cannot be followed: marked as a whole if this text has a mark.
  [[nodiscard]] text made(std::string bytes) const;

  /// fn(string_view) -> string on every run of bytes with one mark or none.
  template <class Function>
  [[nodiscard]] text transformed(const Function& fn) const {
    text result;
    std::size_t at = 0;
    const std::string_view all = bytes_;
    for (const mark& one : marks_) {
      if (at < one.begin) result.append(fn(all.substr(at, one.begin - at)));
      result.append_data(fn(all.substr(one.begin, one.end - one.begin)), one.source);
      at = one.end;
    }
    if (at < all.size()) result.append(fn(all.substr(at)));
    return result;
  }

 private:
  std::string bytes_;
  std::vector<mark> marks_;
};

class value;
struct function;
struct loop_state;

/// How deep and how large a container is, as a tree: shared parts count wherever they stand. Both are bounded when it
/// is made, so whatever walks over a value ends.
struct extent {
  std::int32_t depth = 0;   ///< of containers
  std::int64_t weight = 1;  ///< values, and a further one for every eight bytes of text
  /// Takes in an item. Throws config_error beyond 100 deep or 2^24 heavy.
  void add(const extent& item);
};

/// A list or a tuple.
struct sequence {
  std::vector<value> items;  ///< in order
  extent size{1, 1};         ///< with its items
};

/// A dict in the order of insertion.
struct mapping {
  std::vector<std::pair<value, value>> entries;  ///< (key, value), keys once
  extent size{1, 1};                             ///< with its values

  /// The value of a key, or null.
  [[nodiscard]] const value* find(const value& key) const;
  /// The value of a key that is a string, or null.
  [[nodiscard]] const value* find(std::string_view key) const;
  /// Replaces or adds; throws as extent::add does.
  void set(const value& key, value what);
};

/// A namespace: the one thing that templates may change after it was made.
struct name_space {
  mapping attributes;  ///< by name
};

/// What a value is.
enum class kind : std::uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  lazy,  ///< an iterator, as filters return it: true, without a length
  dict,
  space,
  loop,
  callable
};

/// The name that messages use.
[[nodiscard]] std::string_view to_string(kind which);

/// A value, cheap to copy: containers and strings are shared and never change.
class value {
 public:
  /// Python's None is value::none(); a default-made value is undefined.
  ///@{
  value() = default;
  // NOLINTBEGIN(google-explicit-constructor): a value stands wherever what it holds does
  value(bool b) : data_(b) {}
  value(std::int64_t i) : data_(i) {}
  value(double d) : data_(d) {}
  value(std::string s) : value(text(std::move(s))) {}
  value(const char* s) : value(std::string(s)) {}
  value(text s) : data_(std::make_shared<const text>(std::move(s))) {}
  // NOLINTEND(google-explicit-constructor)
  [[nodiscard]] static value none();
  ///@}
  /// Undefined, with the name that an error shall say.
  [[nodiscard]] static value undefined(std::string name);
  /// A string whose bytes all come from data.
  [[nodiscard]] static value data(std::string bytes, std::int32_t source) { return text(std::move(bytes), source); }
  /// Containers. Throw as extent::add does.
  ///@{
  [[nodiscard]] static value list(std::vector<value> items, kind which = kind::list);
  [[nodiscard]] static value dict(mapping entries);
  [[nodiscard]] static value dict(const std::vector<std::pair<std::string, value>>& entries);
  ///@}
  /// What only the interpreter makes.
  ///@{
  [[nodiscard]] static value of(std::shared_ptr<name_space> space);
  [[nodiscard]] static value of(std::shared_ptr<const function> callee);
  [[nodiscard]] static value of(std::shared_ptr<const loop_state> state);
  ///@}

  [[nodiscard]] kind type() const;                                     ///< what it is
  [[nodiscard]] bool is(kind which) const { return type() == which; }  ///< whether it is that
  [[nodiscard]] bool is_sequence() const;                              ///< list, tuple or iterator
  [[nodiscard]] bool is_number() const;                                ///< boolean, integer or real
  [[nodiscard]] bool is_integral() const;                              ///< boolean or integer
  [[nodiscard]] bool truth() const;                                    ///< as Python's bool()
  [[nodiscard]] std::int64_t integer() const;                          ///< of a boolean or an integer
  [[nodiscard]] double real() const;                                   ///< of a number
  [[nodiscard]] const text& string() const;                            ///< of a string
  [[nodiscard]] const std::vector<value>& items() const;               ///< of a sequence
  [[nodiscard]] const mapping& entries() const;                        ///< of a dict
  [[nodiscard]] name_space& space() const;                             ///< of a namespace
  [[nodiscard]] const function& callee() const;                        ///< of a callable
  [[nodiscard]] const loop_state& loop() const;                        ///< of a loop
  [[nodiscard]] const std::string& name() const;                       ///< of an undefined value
  [[nodiscard]] extent size() const;                                   ///< as a tree
  [[nodiscard]] bool same_object(const value& other) const;            ///< identity, for namespaces

 private:
  struct nothing {};
  struct missing {
    std::shared_ptr<const std::string> name;
  };
  struct ordered {
    std::shared_ptr<const sequence> items;
    kind which = kind::list;
  };
  std::variant<missing, nothing, bool, std::int64_t, double, std::shared_ptr<const text>, ordered,
               std::shared_ptr<const mapping>, std::shared_ptr<name_space>, std::shared_ptr<const function>,
               std::shared_ptr<const loop_state>>
      data_;
};

/// Python's ==.
[[nodiscard]] bool equal(const value& a, const value& b);

/// What {{ value }} writes: Python's str().
[[nodiscard]] text to_text(const value& what);

/// Python's repr(), as lists and dicts write their items.
[[nodiscard]] text represent(const value& what);

/// The shortest decimal form that Python writes for a float.
[[nodiscard]] std::string represent(double number);

/// The values of a JSON text; format_error at `where` when it is not JSON. Numbers beyond 64 bits become floats.
[[nodiscard]] value parse_json(std::string_view json, std::string_view where);

}  // namespace lodestone::jinja

#ifndef LODESTONE_COMPILED
#include <lodestone/text/jinja_value.ipp>
#endif
