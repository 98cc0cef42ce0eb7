// Columns of a matrix in vectors of the compiler, some neighbours at a time, down all rows: what is
// summed over rows stays in registers, in the order of the rows.
//
//   each_lanes<T>(c, [&](auto lanes, std::size_t k) {        // columns [k, k + lanes.kColumns)
//     typename decltype(lanes)::Vector sum[lanes.kVectors] = {};
//     for (std::size_t r = 0; r < rows; ++r) {
//       lanes.each([&](int i, std::size_t at) {
//         typename decltype(lanes)::Vector v;
//         lanes.load(x + r * c + k + at, v);
//         sum[i] += v;
//       });
//     }
//   });
#pragma once
#include <cstddef>
#include <cstring>

namespace litegap {

template <class T, int kLanes>
struct VectorOf {
  typedef T Vector __attribute__((vector_size(kLanes * sizeof(T))));
};
template <class T>
struct VectorOf<T, 1> {
  using Vector = T;
};

template <class T, int kLanes, int vectors>
struct Lanes : VectorOf<T, kLanes> {
  using typename VectorOf<T, kLanes>::Vector;
  static_assert(sizeof(Vector) == kLanes * sizeof(T));
  static constexpr int kVectors = vectors;
  static constexpr std::size_t kColumns = static_cast<std::size_t>(kLanes * vectors);
  // By reference: how vectors are returned depends on the processor a caller is built for.
  static void load(const T* p, Vector& v) { std::memcpy(&v, p, sizeof v); }
  static void store(T* p, const Vector& v) { std::memcpy(p, &v, sizeof v); }
  static void load_all(const T* p, Vector (&v)[kVectors]) { std::memcpy(&v, p, sizeof v); }
  static void store_all(T* p, const Vector (&v)[kVectors]) { std::memcpy(p, &v, sizeof v); }
  // f(vector, its column)
  template <class F>
  static void each(const F& f) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) f(i, static_cast<std::size_t>(i * kLanes));
  }
};

// Calls body(Lanes, first column) for all c columns.
template <class T, class Body>
void each_lanes(std::size_t c, const Body& body) {
  constexpr int kWide = 32 / static_cast<int>(sizeof(T));
  std::size_t k = 0;
  const auto all = [&](auto lanes) {
    for (; k + lanes.kColumns <= c; k += lanes.kColumns) body(lanes, k);
  };
  all(Lanes<T, kWide, 2>{});
  all(Lanes<T, kWide, 1>{});
  all(Lanes<T, 1, 1>{});
}

}  // namespace litegap
