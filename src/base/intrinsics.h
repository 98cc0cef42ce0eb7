// The processor's intrinsics.
//
// <immintrin.h> ends with a pragma that restores the options before it; GCC 12 restores those of
// the precompiled header, which is made with -O2, and compiles what follows without -O3's vector
// code.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__) && defined(NDEBUG)
#pragma GCC optimize("O3")
#endif
#endif
