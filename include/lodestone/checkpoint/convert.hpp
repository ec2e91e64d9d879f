// Element conversion between tensors of files and the types that a backend computes with.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone {

namespace detail {

/// Calls function(std::type_identity<T>{}) with the C++ type of a floating-point dtype; throws format_error for others.
template <class Function>
void with_floating_type(dtype type, const std::string& where, const Function& function) {
  switch (type) {
    case dtype::f64: return function(std::type_identity<double>{});
    case dtype::f32: return function(std::type_identity<float>{});
    case dtype::f16: return function(std::type_identity<f16>{});
    case dtype::bf16: return function(std::type_identity<bf16>{});
    default:
      throw format_error("the element type " + std::string(name_of(type)) + " is not a floating-point one", where,
                         "convert the tensor to F32, F16 or BF16");
  }
}

}  // namespace detail

/// Copies the elements of `source`, of any floating-point type and at any address, into `target`, rounded to nearest
/// where T is narrower. Throws shape_error when the counts differ and format_error for integer tensors; both name the
/// tensor.
template <class T>
void convert_elements(const safetensors::entry& source, std::span<T> target) {
  detail::with_floating_type(source.type, source.name, [&](auto identity) {
    using stored = typename decltype(identity)::type;
    if (source.bytes.size() != target.size() * sizeof(stored))
      throw shape_error("has " + std::to_string(source.bytes.size() / sizeof(stored)) + " elements instead of " +
                            std::to_string(target.size()),
                        source.name);
    if constexpr (std::is_same_v<stored, T>) {
      if (!target.empty()) std::memcpy(target.data(), source.bytes.data(), source.bytes.size());
    } else {
      const std::byte* from = source.bytes.data();
      for (T& element : target) {
        stored value;
        std::memcpy(&value, from, sizeof value);  // files of others need not be aligned
        element = convert<T>(value);
        from += sizeof value;
      }
    }
  });
}

/// The bytes of `source` as elements of a floating-point `type`, rounded to nearest, in `buffer`, whose content is
/// replaced. Throws format_error for integer types.
template <class T>
void store_elements(std::span<const T> source, dtype type, std::vector<std::byte>& buffer) {
  detail::with_floating_type(type, "store_elements", [&](auto identity) {
    using stored = typename decltype(identity)::type;
    buffer.resize(source.size() * sizeof(stored));
    std::byte* to = buffer.data();
    for (const T& element : source) {
      const auto value = convert<stored>(element);
      std::memcpy(to, &value, sizeof value);
      to += sizeof value;
    }
  });
}

}  // namespace lodestone
