// The version of Lodestone: the one place where it is written; CMake reads it from here.
#pragma once

#include <compare>

#define LODESTONE_VERSION_MAJOR 0
#define LODESTONE_VERSION_MINOR 1
#define LODESTONE_VERSION_PATCH 0
#define LODESTONE_VERSION_STRING "0.1.0"

namespace lodestone {

/// A release, as numbers that the language can compare (the macros above are for the preprocessor).
struct release {
  /// The numbers of MAJOR.MINOR.PATCH, compared in this order.
  ///@{
  int major = 0;
  int minor = 0;
  int patch = 0;
  ///@}

  friend constexpr auto operator<=>(const release&, const release&) = default;
};

/// The release these headers belong to. Within one major number interfaces only grow; 0.x may change with a note in
/// docs/changelog.md.
inline constexpr release version{LODESTONE_VERSION_MAJOR, LODESTONE_VERSION_MINOR, LODESTONE_VERSION_PATCH};

}  // namespace lodestone
