// Plain loops as vector code of the machine at hand: the compiler's own, not intrinsics.
//
// The program is built for the oldest processors; a loop that runs inside with_vectors() is built
// once more for AVX2 and the faster one is taken at run time.  Contraction into fused multiply-adds
// is off and AVX2 has no other arithmetic than SSE2, so both give the same bits.
//
//   with_vectors([&] { for (std::size_t i = 0; i < n; ++i) y[i] = a[i] + b[i]; });
#pragma once

namespace litegap {

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

// "flatten": a call that is not inlined would run code that was built without AVX2.
template <class F>
__attribute__((target("avx2"), flatten, noinline)) void run_for_avx2(const F& f) {
  f();
}
template <class F>
__attribute__((target("avx2,fma"), flatten, noinline)) void run_for_fma(const F& f) {
  f();
}
#if defined(__clang__)
#define LITEGAP_FMA512 target("avx512f,avx512bw,avx512dq,avx512vl,fma"), min_vector_width(512)
#else
#define LITEGAP_FMA512 target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
template <class F>
__attribute__((LITEGAP_FMA512, flatten, noinline)) void run_for_fma512(const F& f) {
  f();
}
#undef LITEGAP_FMA512
inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
// While it lives the processor takes subnormal operands, not results, of this thread for zeros of
// their sign, as XNNPACK has it.  What is computed so has to be behind a call that is not inlined:
// compilers know nothing of this.
class SubnormalsAreZero {
 public:
  SubnormalsAreZero() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | 0x40);
  }
  ~SubnormalsAreZero() { __builtin_ia32_ldmxcsr(before_); }
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

 private:
  unsigned before_;
};

template <class F>
void with_vectors(const F& f) {
  if (__builtin_cpu_supports("avx2"))
    run_for_avx2(f);
  else
    f();
}
// The same for loops with std::fma(), which is a call where the processor has no such instruction.
template <class F>
void with_fused(const F& f) {
  if (has_avx512())
    run_for_fma512(f);
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    run_for_fma(f);
  else
    f();
}

#else

template <class F>
void with_vectors(const F& f) {
  f();
}
template <class F>
void with_fused(const F& f) {
  f();
}

#endif

}  // namespace litegap
