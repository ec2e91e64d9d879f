// LODESTONE_INLINE stands before each definition in a .ipp file: `inline` where a header includes the file, nothing in
// the one source of lodestone::compiled that defines the function for everybody.
#pragma once

#ifndef LODESTONE_INLINE
#define LODESTONE_INLINE inline
#endif
