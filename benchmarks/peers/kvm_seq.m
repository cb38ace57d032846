-- SPDX-License-Identifier: Apache-2.0
-- kvm-seq for rumur (Murphi), the plain model: ordered range loop, lowest free frame,
-- no scalarsets.  The constants V, H, K, P, F and LITERAL come in front of this file:
--   const V: 2; H: 1; K: 2; P: 1; F: 2; LITERAL: false;
-- One rule per numbered line of benchmarks/models/kvm_seq.py. Dead locals are cleared.
type
  vcpu_t: 1 .. V;
  host_t: 1 .. H;
  page_t: 0 .. P - 1;
  frame_t: 1 .. F;
  frame0_t: 0 .. F;
  seq_t: 0 .. H * K;
  vpc_t: enum { v0, v1, v2, v3, v4, v5, v6, v7 };
  hpc_t: enum { h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, p1, p2, p3, p4, p5, p6 };

var
  spte: array [page_t] of frame0_t;
  pte: array [page_t] of frame0_t;
  owner: array [frame_t] of 0 .. P;
  seq: seq_t;
  count: 0 .. H;
  lock: boolean;
  vc: array [vcpu_t] of record pc: vpc_t; g: page_t; s: seq_t; p: frame0_t; end;
  ho: array [host_t] of record pc: hpc_t; k: 0 .. K; g: page_t; old: frame0_t; end;

procedure finish_op(i: host_t);
begin
  ho[i].old := 0;
  ho[i].k := ho[i].k + 1;
  ho[i].pc := h0;
end;

startstate "init"
begin
  for g: page_t do spte[g] := 0; pte[g] := 0; end;
  for f: frame_t do owner[f] := 0; end;
  seq := 0; count := 0; lock := false;
  for i: vcpu_t do vc[i].pc := v0; vc[i].g := 0; vc[i].s := 0; vc[i].p := 0; end;
  for i: host_t do ho[i].pc := h0; ho[i].k := 0; ho[i].g := 0; ho[i].old := 0; end;
end;

ruleset i: vcpu_t do
  alias t: vc[i] do
    ruleset g: page_t do
      rule "v0 choose page" t.pc = v0 ==> begin t.g := g; t.pc := v1; end;
    end;
    rule "v1 access" t.pc = v1 & spte[t.g] != 0 ==>
    begin
      assert owner[spte[t.g]] = t.g + 1 "access to a frame that the page does not own";
      t.g := 0; t.pc := v0;
    end;
    rule "v1 fault" t.pc = v1 & spte[t.g] = 0 ==> begin t.pc := v2; end;
    rule "v2 s = seq" t.pc = v2 ==> begin t.s := seq; t.pc := v3; end;
    rule "v3 get_user_page"
      t.pc = v3 & (pte[t.g] != 0 | exists f: frame_t do owner[f] = 0 end) ==>
    var done: boolean;
    begin
      if pte[t.g] = 0 then
        done := false;
        for f: frame_t do
          if !done & owner[f] = 0 then owner[f] := t.g + 1; pte[t.g] := f; done := true; end;
        end;
      end;
      t.p := pte[t.g]; t.pc := v4;
    end;
    rule "v4 lock" t.pc = v4 & !lock ==> begin lock := true; t.pc := v5; end;
    rule "v5 check" t.pc = v5 ==>
    begin
      if seq != t.s | count > 0 then t.p := 0; t.pc := v7; else t.pc := v6; end;
      t.s := 0;
    end;
    rule "v6 spte = p" t.pc = v6 ==> begin spte[t.g] := t.p; t.p := 0; t.pc := v7; end;
    rule "v7 unlock" t.pc = v7 ==> begin lock := false; t.pc := v1; end;
  end;
end;

ruleset i: host_t do
  alias t: ho[i] do
    rule "h0 choose range" t.pc = h0 & t.k < K ==> begin t.pc := h1; end;
    ruleset g: page_t do
      rule "h0 choose page" t.pc = h0 & t.k < K ==> begin t.g := g; t.pc := p1; end;
    end;
    rule "h1 lock" t.pc = h1 & !lock ==> begin lock := true; t.pc := h2; end;
    rule "h2 count++" t.pc = h2 ==> begin count := count + 1; t.pc := h3; end;
    rule "h3 zap all" t.pc = h3 ==> begin for g: page_t do spte[g] := 0; end; t.pc := h4; end;
    rule "h4 unlock" t.pc = h4 ==> begin lock := false; t.pc := h5; end;
    rule "h5 old = pte, pte = 0" t.pc = h5 ==> begin t.old := pte[t.g]; pte[t.g] := 0; t.pc := h6; end;
    rule "h6 free old" t.pc = h6 ==>
    begin
      if t.old != 0 then owner[t.old] := 0; end;
      t.old := 0;
      if t.g = P - 1 then t.g := 0; t.pc := h7; else t.g := t.g + 1; t.pc := h5; end;
    end;
    rule "h7 lock" t.pc = h7 & !lock ==> begin lock := true; if LITERAL then t.pc := h9; else t.pc := h8; end; end;
    rule "h8 seq++" t.pc = h8 ==> begin seq := seq + 1; t.pc := h9; end;
    rule "h9 count--" t.pc = h9 ==> begin count := count - 1; t.pc := h10; end;
    rule "h10 unlock" t.pc = h10 ==> begin lock := false; finish_op(i); end;
    rule "p1 old = pte, pte = 0" t.pc = p1 ==> begin t.old := pte[t.g]; pte[t.g] := 0; t.pc := p2; end;
    rule "p2 lock" t.pc = p2 & !lock ==> begin lock := true; t.pc := p3; end;
    rule "p3 seq++" t.pc = p3 ==> begin seq := seq + 1; t.pc := p4; end;
    rule "p4 spte = 0" t.pc = p4 ==> begin spte[t.g] := 0; t.g := 0; t.pc := p5; end;
    rule "p5 unlock" t.pc = p5 ==> begin lock := false; t.pc := p6; end;
    rule "p6 free old" t.pc = p6 ==>
    begin
      if t.old != 0 then owner[t.old] := 0; end;
      finish_op(i);
    end;
  end;
end;
