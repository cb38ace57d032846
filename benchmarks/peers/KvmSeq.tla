------------------------------- MODULE KvmSeq -------------------------------
(* SPDX-License-Identifier: Apache-2.0                                      *)
(* kvm-seq for TLC. One action per numbered line of the model.              *)
(* Sym = FALSE: pages 0..P-1 and frames 1..F are numbers, the range loop     *)
(*   goes up, get_user_page takes the lowest free frame.                     *)
(* Sym = TRUE: all four sets are symmetric model values, any order and any   *)
(*   free frame.                                                             *)
EXTENDS Naturals, FiniteSets, TLC
CONSTANTS VCPU, HOST, PAGE, FRAME, K, None, Literal, Sym
VARIABLES spte, pte, owner, seq, count, lock, vc, ho
vars == <<spte, pte, owner, seq, count, lock, vc, ho>>

Perms == Permutations(VCPU) \cup Permutations(HOST)
          \cup Permutations(PAGE) \cup Permutations(FRAME)

Least(S) == IF Sym THEN S
            ELSE IF S = {} THEN {} ELSE {CHOOSE x \in S : \A y \in S : x <= y}

VIdle == [pc |-> "v0", g |-> None, s |-> 0, p |-> None]
Init ==
  /\ spte = [g \in PAGE |-> None] /\ pte = [g \in PAGE |-> None]
  /\ owner = [f \in FRAME |-> None]
  /\ seq = 0 /\ count = 0 /\ lock = FALSE
  /\ vc = [v \in VCPU |-> VIdle]
  /\ ho = [h \in HOST |-> [pc |-> "h0", k |-> 0, g |-> None, old |-> None, todo |-> {}]]

---------------------------------------------------------------------------
V0(v) == /\ vc[v].pc = "v0"
         /\ \E g \in PAGE : vc' = [vc EXCEPT ![v].pc = "v1", ![v].g = g]
         /\ UNCHANGED <<spte, pte, owner, seq, count, lock, ho>>
V1(v) == /\ vc[v].pc = "v1"
         /\ IF spte[vc[v].g] # None
            THEN vc' = [vc EXCEPT ![v] = VIdle]      \* the access: see NoStaleAccess
            ELSE vc' = [vc EXCEPT ![v].pc = "v2"]
         /\ UNCHANGED <<spte, pte, owner, seq, count, lock, ho>>
V2(v) == /\ vc[v].pc = "v2"
         /\ vc' = [vc EXCEPT ![v].pc = "v3", ![v].s = seq]
         /\ UNCHANGED <<spte, pte, owner, seq, count, lock, ho>>
V3(v) == /\ vc[v].pc = "v3"
         /\ LET g == vc[v].g IN
            IF pte[g] # None
            THEN vc' = [vc EXCEPT ![v].pc = "v4", ![v].p = pte[g]] /\ UNCHANGED <<pte, owner>>
            ELSE \E f \in Least({x \in FRAME : owner[x] = None}) :
                   /\ owner' = [owner EXCEPT ![f] = g]
                   /\ pte' = [pte EXCEPT ![g] = f]
                   /\ vc' = [vc EXCEPT ![v].pc = "v4", ![v].p = f]
         /\ UNCHANGED <<spte, seq, count, lock, ho>>
V4(v) == /\ vc[v].pc = "v4" /\ ~lock
         /\ lock' = TRUE /\ vc' = [vc EXCEPT ![v].pc = "v5"]
         /\ UNCHANGED <<spte, pte, owner, seq, count, ho>>
V5(v) == /\ vc[v].pc = "v5"
         /\ vc' = IF seq # vc[v].s \/ count > 0
                  THEN [vc EXCEPT ![v].pc = "v7", ![v].s = 0, ![v].p = None]
                  ELSE [vc EXCEPT ![v].pc = "v6", ![v].s = 0]
         /\ UNCHANGED <<spte, pte, owner, seq, count, lock, ho>>
V6(v) == /\ vc[v].pc = "v6"
         /\ spte' = [spte EXCEPT ![vc[v].g] = vc[v].p]
         /\ vc' = [vc EXCEPT ![v].pc = "v7", ![v].p = None]
         /\ UNCHANGED <<pte, owner, seq, count, lock, ho>>
V7(v) == /\ vc[v].pc = "v7"
         /\ lock' = FALSE /\ vc' = [vc EXCEPT ![v].pc = "v1"]
         /\ UNCHANGED <<spte, pte, owner, seq, count, ho>>
Vcpu(v) == V0(v) \/ V1(v) \/ V2(v) \/ V3(v) \/ V4(v) \/ V5(v) \/ V6(v) \/ V7(v)

---------------------------------------------------------------------------
Lock(h, a, b) == /\ ho[h].pc = a /\ ~lock
                 /\ lock' = TRUE /\ ho' = [ho EXCEPT ![h].pc = b]
                 /\ UNCHANGED <<spte, pte, owner, seq, count, vc>>
Bump(h, a, b) == /\ ho[h].pc = a
                 /\ seq' = seq + 1 /\ ho' = [ho EXCEPT ![h].pc = b]
                 /\ UNCHANGED <<spte, pte, owner, count, lock, vc>>
FreeOld(h) == IF ho[h].old # None THEN owner' = [owner EXCEPT ![ho[h].old] = None]
                                  ELSE UNCHANGED owner
Done(h) == ho' = [ho EXCEPT ![h].pc = "h0", ![h].k = @ + 1, ![h].old = None]

H0(h) == /\ ho[h].pc = "h0" /\ ho[h].k < K
         /\ \/ ho' = [ho EXCEPT ![h].pc = "h1"]
            \/ \E g \in PAGE : ho' = [ho EXCEPT ![h].pc = "p1", ![h].g = g]
         /\ UNCHANGED <<spte, pte, owner, seq, count, lock, vc>>
H1(h) == Lock(h, "h1", "h2")
H2(h) == /\ ho[h].pc = "h2"
         /\ count' = count + 1 /\ ho' = [ho EXCEPT ![h].pc = "h3"]
         /\ UNCHANGED <<spte, pte, owner, seq, lock, vc>>
H3(h) == /\ ho[h].pc = "h3"
         /\ spte' = [g \in PAGE |-> None] /\ ho' = [ho EXCEPT ![h].pc = "h4"]
         /\ UNCHANGED <<pte, owner, seq, count, lock, vc>>
H4(h) == /\ ho[h].pc = "h4"
         /\ lock' = FALSE /\ ho' = [ho EXCEPT ![h].pc = "h5", ![h].todo = PAGE]
         /\ UNCHANGED <<spte, pte, owner, seq, count, vc>>
H5(h) == /\ ho[h].pc = "h5"
         /\ \E g \in Least(ho[h].todo) :
              /\ pte' = [pte EXCEPT ![g] = None]
              /\ ho' = [ho EXCEPT ![h].pc = "h6", ![h].old = pte[g], ![h].todo = @ \ {g}]
         /\ UNCHANGED <<spte, owner, seq, count, lock, vc>>
H6(h) == /\ ho[h].pc = "h6" /\ FreeOld(h)
         /\ ho' = [ho EXCEPT ![h].pc = IF ho[h].todo = {} THEN "h7" ELSE "h5", ![h].old = None]
         /\ UNCHANGED <<spte, pte, seq, count, lock, vc>>
H7(h) == Lock(h, "h7", IF Literal THEN "h9" ELSE "h8")
H8(h) == Bump(h, "h8", "h9")
H9(h) == /\ ho[h].pc = "h9"
         /\ count' = count - 1 /\ ho' = [ho EXCEPT ![h].pc = "h10"]
         /\ UNCHANGED <<spte, pte, owner, seq, lock, vc>>
H10(h) == /\ ho[h].pc = "h10" /\ lock' = FALSE /\ Done(h)
          /\ UNCHANGED <<spte, pte, owner, seq, count, vc>>
P1(h) == /\ ho[h].pc = "p1"
         /\ pte' = [pte EXCEPT ![ho[h].g] = None]
         /\ ho' = [ho EXCEPT ![h].pc = "p2", ![h].old = pte[ho[h].g]]
         /\ UNCHANGED <<spte, owner, seq, count, lock, vc>>
P2(h) == Lock(h, "p2", "p3")
P3(h) == Bump(h, "p3", "p4")
P4(h) == /\ ho[h].pc = "p4"
         /\ spte' = [spte EXCEPT ![ho[h].g] = None]
         /\ ho' = [ho EXCEPT ![h].pc = "p5", ![h].g = None]
         /\ UNCHANGED <<pte, owner, seq, count, lock, vc>>
P5(h) == /\ ho[h].pc = "p5"
         /\ lock' = FALSE /\ ho' = [ho EXCEPT ![h].pc = "p6"]
         /\ UNCHANGED <<spte, pte, owner, seq, count, vc>>
P6(h) == /\ ho[h].pc = "p6" /\ FreeOld(h) /\ Done(h)
         /\ UNCHANGED <<spte, pte, seq, count, lock, vc>>
Host(h) == \/ H0(h) \/ H1(h) \/ H2(h) \/ H3(h) \/ H4(h) \/ H5(h) \/ H6(h) \/ H7(h) \/ H8(h) \/ H9(h) \/ H10(h)
           \/ P1(h) \/ P2(h) \/ P3(h) \/ P4(h) \/ P5(h) \/ P6(h)

Next == (\E v \in VCPU : Vcpu(v)) \/ (\E h \in HOST : Host(h))
Spec == Init /\ [][Next]_vars

(* The access of v1 is checked where it is about to happen. *)
NoStaleAccess == \A v \in VCPU :
  vc[v].pc = "v1" /\ spte[vc[v].g] # None => owner[spte[vc[v].g]] = vc[v].g
=============================================================================
