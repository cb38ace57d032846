// SPDX-License-Identifier: Apache-2.0
// limit.cc - hand-written BFS for kvm-seq: the practical speed limit that the
// general checkers are compared with.  One file, C++17, no dependencies.
//
//   g++ -O3 -march=native -std=c++17 -DV=2 -DH=1 -DK=2 -DP=1 -DF=2
//       [-DLITERAL=1] [-DSYM=1] [-DFREE=1] [-DSEQBIT=1] [-DLIPTON=1]
//       [-DEAGER=1] [-DLOOP=1] limit.cc -o limit && ./limit
//
// LITERAL 1  broken variant: range end does not bump seq
// FREE    1  the fully symmetric model: get_user_page takes ANY free frame and
//            the range loop visits the pages in ANY order (needed for SYM)
// SYM     1  symmetry over vCPUs, hosts, pages and frames (implies FREE)
// SEQBIT  1  replace seq and every s by one bit per vCPU "seq moved since read"
// LIPTON  1  one step per lock section where Lipton's theory allows it
// EAGER   1  fuse steps that only touch a thread's own locals into the step before:
//            the two choices v0 and h0, and h6/p6 when there is nothing to free
// LOOP    1  hosts never stop (K is ignored; needs SEQBIT)
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>
#include <sys/mman.h>

#ifndef LITERAL
#define LITERAL 0
#endif
#ifndef SYM
#define SYM 0
#endif
#ifndef FREE
#define FREE SYM
#endif
#ifndef SEQBIT
#define SEQBIT 0
#endif
#ifndef LIPTON
#define LIPTON 0
#endif
#ifndef EAGER
#define EAGER 0
#endif
#ifndef LOOP
#define LOOP 0
#endif
#if SYM && !FREE
#error "SYM needs FREE: lowest-free-frame and ordered range loops are not symmetric"
#endif
#if LOOP && !SEQBIT
#error "LOOP needs SEQBIT, otherwise seq grows without bound"
#endif

static_assert(V >= 1 && V <= 4 && H >= 1 && H <= 2 && P >= 1 && P <= 2 && F >= 1 && F <= 7 && K >= 0 && K <= 7, "bounds");

enum { V0, V1, V2, V3, V4, V5, V6, V7 };
enum { H0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, P1, P2, P3, P4, P5, P6, DONE };

// The unpacked state. One byte a field; packed to 128 bits for storing.
struct St {
  uint8_t spte[P], pte[P], owner[F + 1];  // owner[0] unused
  uint8_t seq, count, lock;
  struct { uint8_t pc, g, s, p; } v[V];
  struct { uint8_t pc, k, g, old; } h[H];  // g: page, or set of visited pages when FREE and in a range loop
};

struct Key { uint64_t a, b; bool operator==(const Key &o) const { return a == o.a && b == o.b; } bool operator<(const Key &o) const { return a != o.a ? a < o.a : b < o.b; } };

// a: vCPUs, 11 bits each (pc 3, g 1, s 4, p 3)  -> 44 bits, seq 4, count 2, lock 1, hosts k 3 each (6) = 57
// b: hosts (pc 5, g 2, old 3) 10 each -> 20, spte 3*P, pte 3*P (12), owner 2*F (14) = 46.
// bit 63 of b is set so that an empty slot (0,0) is never a state.
static inline uint64_t vword(const St &x, int i) { return x.v[i].pc | x.v[i].g << 3 | x.v[i].s << 4 | (uint64_t)x.v[i].p << 8; }
static inline uint64_t hword(const St &x, int i) { return x.h[i].pc | x.h[i].g << 5 | x.h[i].old << 7 | (uint64_t)x.h[i].k << 10; }
static inline Key pack(const St &x) {
  uint64_t a = 0, b = 0;
  for (int i = 0; i < V; i++) a = a << 11 | vword(x, i);
  a = a << 4 | x.seq; a = a << 2 | x.count; a = a << 1 | x.lock;
  for (int i = 0; i < H; i++) b = b << 13 | hword(x, i);
  for (int g = 0; g < P; g++) b = b << 3 | x.spte[g];
  for (int g = 0; g < P; g++) b = b << 3 | x.pte[g];
  for (int f = 1; f <= F; f++) b = b << 2 | x.owner[f];
  return {a, b | 1ull << 63};
}
static inline St unpack(Key k) {
  St x; uint64_t a = k.a, b = k.b & ~(1ull << 63);
  x.owner[0] = 0;
  for (int f = F; f >= 1; f--) x.owner[f] = b & 3, b >>= 2;
  for (int g = P - 1; g >= 0; g--) x.pte[g] = b & 7, b >>= 3;
  for (int g = P - 1; g >= 0; g--) x.spte[g] = b & 7, b >>= 3;
  for (int i = H - 1; i >= 0; i--) { x.h[i].pc = b & 31; x.h[i].g = b >> 5 & 3; x.h[i].old = b >> 7 & 7; x.h[i].k = b >> 10 & 7; b >>= 13; }
  x.lock = a & 1; a >>= 1; x.count = a & 3; a >>= 2; x.seq = a & 15; a >>= 4;
  for (int i = V - 1; i >= 0; i--) { x.v[i].pc = a & 7; x.v[i].g = a >> 3 & 1; x.v[i].s = a >> 4 & 15; x.v[i].p = a >> 8 & 7; a >>= 11; }
  return x;
}

template <int N> static inline void sortnet(uint64_t *w) {
  auto cs = [&](int i, int j) { if (w[i] > w[j]) std::swap(w[i], w[j]); };
  if (N == 2) cs(0, 1);
  if (N == 3) { cs(0, 1); cs(1, 2); cs(0, 1); }
  if (N == 4) { cs(0, 1); cs(2, 3); cs(0, 2); cs(1, 3); cs(1, 2); }
}
static inline Key packSorted(const St &x) {
  uint64_t vw[V], hw[H], a = 0, b = 0;
  for (int i = 0; i < V; i++) vw[i] = vword(x, i);
  for (int i = 0; i < H; i++) hw[i] = hword(x, i);
  sortnet<V>(vw); sortnet<H>(hw);
  for (int i = 0; i < V; i++) a = a << 11 | vw[i];
  a = a << 4 | x.seq; a = a << 2 | x.count; a = a << 1 | x.lock;
  for (int i = 0; i < H; i++) b = b << 13 | hw[i];
  for (int g = 0; g < P; g++) b = b << 3 | x.spte[g];
  for (int g = 0; g < P; g++) b = b << 3 | x.pte[g];
  for (int f = 1; f <= F; f++) b = b << 2 | x.owner[f];
  return {a, b | 1ull << 63};
}
static inline bool rangeLoop(int pc) { return pc == R5 || pc == R6; }

// Exact canonical form: for each page permutation, frames are ordered by a
// signature that is invariant under renaming frames, vCPUs and hosts; two frames
// with one signature are swapped by an automorphism, so the order among them is
// immaterial. Then vCPUs and hosts are sorted. The least packed key wins.
static inline Key canonPages(const St &x) {
  uint64_t sig[F]; uint8_t to[F + 1]; to[0] = 0;
  for (int f = 1; f <= F; f++) {
    uint64_t s = x.owner[f];
    for (int g = 0; g < P; g++) s = s << 1 | (x.pte[g] == f);
    for (int g = 0; g < P; g++) s = s << 1 | (x.spte[g] == f);
    // references from vCPUs and hosts: a commutative sum of mixed local states
    uint64_t m = 0;
    for (int i = 0; i < V; i++) if (x.v[i].p == f) { uint64_t w = (x.v[i].pc | x.v[i].g << 3 | x.v[i].s << 4) + 1; w *= 0x9E3779B97F4A7C15ull; m += w ^ w >> 29; }
    for (int i = 0; i < H; i++) if (x.h[i].old == f) { uint64_t w = (x.h[i].pc | x.h[i].g << 5 | x.h[i].k << 7) + 1001; w *= 0xC2B2AE3D27D4EB4Full; m += w ^ w >> 31; }
    sig[f - 1] = s << 57 | (m & ((1ull << 54) - 1)) << 3 | f;  // a collision of m only costs states
  }
  for (int i = 1; i < F; i++) { uint64_t s = sig[i]; int j = i; while (j && sig[j - 1] < s) { sig[j] = sig[j - 1]; j--; } sig[j] = s; }
  for (int i = 0; i < F; i++) to[sig[i] & 7] = i + 1;
  St y = x;
  for (int f = 1; f <= F; f++) y.owner[to[f]] = x.owner[f];
  for (int g = 0; g < P; g++) y.pte[g] = to[x.pte[g]], y.spte[g] = to[x.spte[g]];
  for (int i = 0; i < V; i++) y.v[i].p = to[x.v[i].p];
  for (int i = 0; i < H; i++) y.h[i].old = to[x.h[i].old];
  return packSorted(y);
}
static inline St swapPages(const St &x) {  // P == 2
  St y = x;
  std::swap(y.pte[0], y.pte[P - 1]); std::swap(y.spte[0], y.spte[P - 1]);
  for (int f = 1; f <= F; f++) if (x.owner[f]) y.owner[f] = 3 - x.owner[f];
  for (int i = 0; i < V; i++) if (x.v[i].pc != V0) y.v[i].g ^= 1;
  for (int i = 0; i < H; i++) {
    int pc = x.h[i].pc, g = x.h[i].g;
    if (rangeLoop(pc)) y.h[i].g = (g & 1) << 1 | g >> 1;  // set of visited pages
    else if (pc >= P1 && pc <= P4) y.h[i].g ^= 1;
  }
  return y;
}
static inline Key canon(const St &x) {
  if (SYM) {
    Key k = canonPages(x);
    if (P == 2) { Key k2 = canonPages(swapPages(x)); if (k2 < k) k = k2; }
    return k;
  }
  return pack(x);
}

// ---- transition relation -------------------------------------------------
// emit(successor, label, argument); returns the number of enabled steps.
// A failing ACCESS is emitted with a negative argument and a label starting with v.
// With FREE, g holds the set of visited pages in the range loop (R5, R6).
static inline void finish(St &y, int i) {
  auto &m = y.h[i];
  m.g = m.old = 0;
  if (LOOP) { m.pc = H0; return; }
  m.k++; m.pc = m.k == K ? DONE : H0;
}
static inline void nextPage(St &y, int i) {  // after h6
  auto &m = y.h[i];
  if (FREE) { if (m.g == (1 << P) - 1) { m.g = 0; m.pc = R7; } else m.pc = R5; }
  else if (m.g == P - 1) { m.g = 0; m.pc = R7; } else { m.g++; m.pc = R5; }
}
// EAGER: run the local steps of y to their end, one call of out for each way to choose.
template <class E> static void settle(St y, E &&out) {
  for (int i = 0; i < H; i++) {
    if (y.h[i].pc == R6 && !y.h[i].old) nextPage(y, i);
    if (y.h[i].pc == P6 && !y.h[i].old) finish(y, i);
    if (y.h[i].pc == H0) {
      St z = y; z.h[i].pc = R1; settle(z, out);
      for (int g = 0; g < P; g++) { z = y; z.h[i].pc = P1; z.h[i].g = g; settle(z, out); }
      return;
    }
  }
  for (int i = 0; i < V; i++) if (y.v[i].pc == V0) {
    for (int g = 0; g < P; g++) { St z = y; z.v[i].pc = V1; z.v[i].g = g; settle(z, out); }
    return;
  }
  out(y);
}
template <class E> static inline int succ(const St &x, E &&emit0) {
  int n = 0;
  auto emit = [&](const St &y, const char *lab, int arg) {
    if (EAGER && arg >= 0) { n--; settle(y, [&](const St &z) { n++; emit0(z, lab, arg); }); }
    else emit0(y, lab, arg);
  };
  for (int i = 0; i < V; i++) {
    auto l = x.v[i]; St y;
    auto out = [&](const char *lab, int arg) { n++; return emit(y, lab, arg); };
    switch (l.pc) {
    case V0:
      for (int g = 0; g < P; g++) { y = x; y.v[i].pc = V1; y.v[i].g = g; out("v0 choose page", g); }
      break;
    case V1:
      y = x;
      if (int f = x.spte[l.g]) {
        if (x.owner[f] != l.g + 1) { n++; emit(y, "v1 ACCESS: ASSERTION FAILED", -1 - l.g); break; }
        y.v[i].pc = V0; y.v[i].g = 0; out("v1 access ok", l.g);
      } else { y.v[i].pc = V2; out("v1 fault", l.g); }
      break;
    case V2: y = x; y.v[i].pc = V3; y.v[i].s = SEQBIT ? 0 : x.seq; out("v2 s=seq", y.v[i].s); break;
    case V3:
      if (x.pte[l.g]) { y = x; y.v[i].pc = V4; y.v[i].p = x.pte[l.g]; out("v3 get_user_page (present)", y.v[i].p); }
      else for (int f = 1; f <= F; f++) if (!x.owner[f]) {
        y = x; y.owner[f] = l.g + 1; y.pte[l.g] = f; y.v[i].p = f; y.v[i].pc = V4; out("v3 get_user_page (alloc)", f);
        if (!FREE) break;
      }
      break;
    case V4:
      if (x.lock) break;
      if (LIPTON) {
        y = x;
        bool ok = l.s == (SEQBIT ? 0 : x.seq) && !x.count;
        if (ok) y.spte[l.g] = l.p;
        y.v[i].s = y.v[i].p = 0; y.v[i].pc = V1;
        out(ok ? "v4-7 map" : "v4-7 retry", l.p);
      } else { y = x; y.lock = 1; y.v[i].pc = V5; out("v4 lock", 0); }
      break;
    case V5:
      y = x; y.v[i].s = 0;
      if (l.s != (SEQBIT ? 0 : x.seq) || x.count) { y.v[i].p = 0; y.v[i].pc = V7; out("v5 retry", 0); }
      else { y.v[i].pc = V6; out("v5 ok", 0); }
      break;
    case V6: y = x; y.spte[l.g] = l.p; y.v[i].p = 0; y.v[i].pc = V7; out("v6 spte=p", l.p); break;
    case V7: y = x; y.lock = 0; y.v[i].pc = V1; out("v7 unlock", 0); break;
    }
  }
  auto bump = [](St &y) {
    if (SEQBIT) { for (int i = 0; i < V; i++) if (y.v[i].pc >= V3 && y.v[i].pc <= V5) y.v[i].s = 1; }
    else y.seq++;
  };
  for (int i = 0; i < H; i++) {
    auto l = x.h[i]; St y = x; auto &m = y.h[i];
    auto out = [&](const char *lab, int arg) { n++; return emit(y, lab, arg); };
    auto fin = [&] { finish(y, i); };
    switch (l.pc) {
    case H0:
      m.pc = R1; out("h0 choose range", -1);
      for (int g = 0; g < P; g++) { y = x; m.pc = P1; m.g = g; out("h0 choose page", g); }
      break;
    case R1:
      if (x.lock) break;
      if (LIPTON) { y.count++; for (int g = 0; g < P; g++) y.spte[g] = 0; m.pc = R5; out("h1-4 count++, zap", 0); break; }
      y.lock = 1; m.pc = R2; out("h1 lock", 0); break;
    case R2: y.count++; m.pc = R3; out("h2 count++", y.count); break;
    case R3: for (int g = 0; g < P; g++) y.spte[g] = 0; m.pc = R4; out("h3 zap all", 0); break;
    case R4: y.lock = 0; m.pc = R5; out("h4 unlock", 0); break;
    case R5:
      if (FREE) {
        for (int g = 0; g < P; g++) if (!(l.g >> g & 1)) {
          y = x; m.old = x.pte[g]; y.pte[g] = 0; m.g = l.g | 1 << g; m.pc = R6;
          out("h5 old=pte, pte=0", g);
        }
      } else { m.old = x.pte[l.g]; y.pte[l.g] = 0; m.pc = R6; out("h5 old=pte, pte=0", l.g); }
      break;
    case R6:
      if (l.old) y.owner[l.old] = 0;
      m.old = 0;
      nextPage(y, i);
      out("h6 free old", l.old); break;
    case R7:
      if (x.lock) break;
      if (LIPTON) { if (!LITERAL) bump(y); y.count--; fin(); out("h7-10 range end", 0); break; }
      y.lock = 1; m.pc = LITERAL ? R9 : R8; out("h7 lock", 0); break;
    case R8: bump(y); m.pc = R9; out("h8 seq++", y.seq); break;
    case R9: y.count--; m.pc = R10; out("h9 count--", y.count); break;
    case R10: y.lock = 0; fin(); out("h10 unlock", 0); break;
    case P1: m.old = x.pte[l.g]; y.pte[l.g] = 0; m.pc = P2; out("p1 old=pte, pte=0", l.g); break;
    case P2:
      if (x.lock) break;
      if (LIPTON) { bump(y); y.lock = 1; m.pc = P4; out("p2-3 lock, seq++", 0); break; }
      y.lock = 1; m.pc = P3; out("p2 lock", 0); break;
    case P3: bump(y); m.pc = P4; out("p3 seq++", y.seq); break;
    case P4:
      y.spte[l.g] = 0;
      m.g = 0;
      if (LIPTON) { y.lock = 0; m.pc = P6; out("p4-5 spte=0, unlock", l.g); break; }
      m.pc = P5; out("p4 spte=0", l.g); break;
    case P5: y.lock = 0; m.pc = P6; out("p5 unlock", 0); break;
    case P6: if (l.old) y.owner[l.old] = 0; fin(); out("p6 free old", l.old); break;
    case DONE: break;
    }
  }
  return n;
}

// ---- seen set: open addressing, 16-byte keys, parallel array of parents ----
static inline uint64_t hashKey(Key k) {
  uint64_t h = k.a * 0x9E3779B97F4A7C15ull; h ^= h >> 32; h = (h + k.b) * 0xD6E8FEB86659FD93ull; h ^= h >> 29; h *= 0xC2B2AE3D27D4EB4Full; return h ^ h >> 32;
}
static Key *tab; static uint64_t cap, used;
static Key *mapTab(uint64_t n) {
  void *p = mmap(nullptr, n * sizeof(Key), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) { perror("mmap"); exit(3); }
  madvise(p, n * sizeof(Key), MADV_HUGEPAGE);
  return (Key *)p;
}
static void grow() {
  uint64_t oc = cap; Key *ot = tab; cap = oc * 2; tab = mapTab(cap);
  for (uint64_t i = 0; i < oc; i++) if (ot[i].b) { uint64_t j = hashKey(ot[i]) & (cap - 1); while (tab[j].b) j = (j + 1) & (cap - 1); tab[j] = ot[i]; }
  munmap(ot, oc * sizeof(Key));
}
static inline bool insertKey(Key k, uint64_t h) {
  uint64_t j = h & (cap - 1);
  while (tab[j].b) { if (tab[j] == k) return false; j = (j + 1) & (cap - 1); }
  tab[j] = k; used++;
  return true;
}

int main() {
  auto t0 = std::chrono::steady_clock::now();
  St init; memset(&init, 0, sizeof init);
  if (!LOOP && K == 0) for (int i = 0; i < H; i++) init.h[i].pc = DONE;
  cap = 1ull << 16; tab = mapTab(cap);
  std::vector<Key> cur, next;
  auto start = [&](const St &y) { Key k = canon(y); if (insertKey(k, hashKey(k))) cur.push_back(k); };
  if (EAGER) settle(init, start); else start(init);
  uint64_t trans = 0; int failDepth = -1, dead = 0;
  for (int depth = 0; !cur.empty() && failDepth < 0; depth++) {
    // prefetch window: compute successors, hash, prefetch, insert a little later
    constexpr int W = 32; Key ring[W]; uint64_t rh[W]; int rp = 0, rn = 0;
    auto flush1 = [&](int i) { if (used * 2 > cap) grow(); if (insertKey(ring[i], rh[i])) next.push_back(ring[i]); };
    for (size_t q = 0; q < cur.size() && failDepth < 0; q++) {
      St x = unpack(cur[q]);
      int m = succ(x, [&](const St &y, const char *lab, int arg) {
        if (arg < 0 && lab[0] == 'v') { failDepth = depth + 1; return; }
        Key k = canon(y); uint64_t h = hashKey(k);
        __builtin_prefetch(&tab[h & (cap - 1)]);
        if (rn == W) { flush1(rp); ring[rp] = k; rh[rp] = h; rp = (rp + 1) % W; }
        else { ring[(rp + rn) % W] = k; rh[(rp + rn) % W] = h; rn++; }
      });
      trans += m;
      if (!m) dead++;
    }
    for (; rn; rn--) { flush1(rp); rp = (rp + 1) % W; }
    cur.swap(next); next.clear();
  }
  double dt = std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
  printf("RESULT %s states %llu transitions %llu deadlocks %d search_s %.3f\n", failDepth >= 0 || dead ? "FAIL" : "ok",
         (unsigned long long)used, (unsigned long long)trans, dead, dt);
  if (failDepth >= 0) printf("shortest counterexample: %d steps\n", failDepth);
  return failDepth >= 0 || dead;
}
