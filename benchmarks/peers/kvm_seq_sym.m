-- SPDX-License-Identifier: Apache-2.0
-- kvm-seq for rumur (Murphi), the symmetric model: vCPUs, hosts, pages and frames are
-- scalarsets, so get_user_page takes ANY free frame and the range loop visits the pages in
-- ANY order ("lowest free frame" and "page 0, then page 1" cannot be said of a scalarset).
-- The constants V, H, K, P, F and LITERAL come in front of this file.
-- "undefined" is "none"; a field of "todo" is true for a page that the range has yet to visit.
type
  vcpu_t: scalarset(V);
  host_t: scalarset(H);
  page_t: scalarset(P);
  frame_t: scalarset(F);
  seq_t: 0 .. H * K;
  vpc_t: enum { v0, v1, v2, v3, v4, v5, v6, v7 };
  hpc_t: enum { h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, p1, p2, p3, p4, p5, p6 };

var
  spte: array [page_t] of frame_t;
  pte: array [page_t] of frame_t;
  owner: array [frame_t] of page_t;
  seq: seq_t;
  count: 0 .. H;
  lock: boolean;
  vc: array [vcpu_t] of record pc: vpc_t; g: page_t; s: seq_t; p: frame_t; end;
  ho: array [host_t] of record pc: hpc_t; k: 0 .. K; g: page_t; old: frame_t; todo: array [page_t] of boolean; end;

procedure finish_op(i: host_t);
begin
  undefine ho[i].old;
  ho[i].k := ho[i].k + 1;
  ho[i].pc := h0;
end;

startstate "init"
begin
  undefine spte; undefine pte; undefine owner;
  seq := 0; count := 0; lock := false;
  for i: vcpu_t do vc[i].pc := v0; undefine vc[i].g; undefine vc[i].p; vc[i].s := 0; end;
  for i: host_t do
    ho[i].pc := h0; ho[i].k := 0; undefine ho[i].g; undefine ho[i].old;
    for g: page_t do ho[i].todo[g] := false; end;
  end;
end;

ruleset i: vcpu_t do
  alias t: vc[i] do
    ruleset g: page_t do
      rule "v0 choose page" t.pc = v0 ==> begin t.g := g; t.pc := v1; end;
    end;
    rule "v1 access" t.pc = v1 & !isundefined(spte[t.g]) ==>
    begin
      assert !isundefined(owner[spte[t.g]]) & owner[spte[t.g]] = t.g "access to a frame that the page does not own";
      undefine t.g; t.pc := v0;
    end;
    rule "v1 fault" t.pc = v1 & isundefined(spte[t.g]) ==> begin t.pc := v2; end;
    rule "v2 s = seq" t.pc = v2 ==> begin t.s := seq; t.pc := v3; end;
    rule "v3 get_user_page (present)" t.pc = v3 & !isundefined(pte[t.g]) ==> begin t.p := pte[t.g]; t.pc := v4; end;
    ruleset f: frame_t do
      rule "v3 get_user_page (allocate)" t.pc = v3 & isundefined(pte[t.g]) & isundefined(owner[f]) ==>
      begin owner[f] := t.g; pte[t.g] := f; t.p := f; t.pc := v4; end;
    end;
    rule "v4 lock" t.pc = v4 & !lock ==> begin lock := true; t.pc := v5; end;
    rule "v5 check" t.pc = v5 ==>
    begin
      if seq != t.s | count > 0 then undefine t.p; t.pc := v7; else t.pc := v6; end;
      t.s := 0;
    end;
    rule "v6 spte = p" t.pc = v6 ==> begin spte[t.g] := t.p; undefine t.p; t.pc := v7; end;
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
    rule "h3 zap all" t.pc = h3 ==> begin undefine spte; t.pc := h4; end;
    rule "h4 unlock" t.pc = h4 ==> begin lock := false; t.pc := h5; for g: page_t do t.todo[g] := true; end; end;
    ruleset g: page_t do
      rule "h5 old = pte, pte = 0" t.pc = h5 & t.todo[g] ==>
      begin
        t.todo[g] := false;
        if isundefined(pte[g]) then undefine t.old; else t.old := pte[g]; end;
        undefine pte[g]; t.pc := h6;
      end;
    end;
    rule "h6 free old" t.pc = h6 ==>
    begin
      if !isundefined(t.old) then undefine owner[t.old]; end;
      undefine t.old;
      if exists g: page_t do t.todo[g] end then t.pc := h5; else t.pc := h7; end;
    end;
    rule "h7 lock" t.pc = h7 & !lock ==> begin lock := true; if LITERAL then t.pc := h9; else t.pc := h8; end; end;
    rule "h8 seq++" t.pc = h8 ==> begin seq := seq + 1; t.pc := h9; end;
    rule "h9 count--" t.pc = h9 ==> begin count := count - 1; t.pc := h10; end;
    rule "h10 unlock" t.pc = h10 ==> begin lock := false; finish_op(i); end;
    rule "p1 old = pte, pte = 0" t.pc = p1 ==>
    begin
      if isundefined(pte[t.g]) then undefine t.old; else t.old := pte[t.g]; end;
      undefine pte[t.g]; t.pc := p2;
    end;
    rule "p2 lock" t.pc = p2 & !lock ==> begin lock := true; t.pc := p3; end;
    rule "p3 seq++" t.pc = p3 ==> begin seq := seq + 1; t.pc := p4; end;
    rule "p4 spte = 0" t.pc = p4 ==> begin undefine spte[t.g]; undefine t.g; t.pc := p5; end;
    rule "p5 unlock" t.pc = p5 ==> begin lock := false; t.pc := p6; end;
    rule "p6 free old" t.pc = p6 ==>
    begin
      if !isundefined(t.old) then undefine owner[t.old]; end;
      finish_op(i);
    end;
  end;
end;
