// Codes of 8 or 16 bits with one scale, once for every instruction set: quantize.cc includes this
// in a namespace each, with LITEGAP_LOOP set to the attributes of its functions.
//
// Quotients are rounded by kToInteger; beyond 10^15 every one is clamped anyway.  The same bits
// everywhere.

typedef double D4 __attribute__((vector_size(32)));
typedef float F4 __attribute__((vector_size(16)));
typedef std::int32_t I4 __attribute__((vector_size(16)));

template <class T>
LITEGAP_LOOP void by_quotients(const std::byte* real, const OneScale& q, std::span<T> out) {
  const D4 round = D4{} + kToInteger, far = D4{} + 1e15, scale = D4{} + q.scale;
  const D4 zeros = D4{} + q.zero, lows = D4{} + q.low, highs = D4{} + q.high;
  for (std::size_t i = 0; i < out.size(); i += 4) {
    F4 x{};
    const std::size_t n = std::min<std::size_t>(4, out.size() - i);
    if (n == 4)
      std::memcpy(&x, real + i * sizeof(float), sizeof x);
    else
      std::memcpy(&x, real + i * sizeof(float), n * sizeof(float));
    D4 v = __builtin_convertvector(x, D4) / scale;
    v = v > far ? far : v;
    v = v < -far ? -far : v;
    v = (v + round) - round + zeros;
    v = v > highs ? highs : v;
    v = v < lows ? lows : v;
    v = v == v ? v : zeros;  // NaN
    const I4 code = __builtin_convertvector(v, I4);
    for (std::size_t j = 0; j < n; ++j) out[i + j] = static_cast<T>(code[j]);
  }
}
