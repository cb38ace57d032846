-- SPDX-License-Identifier: Apache-2.0
-- The interval notifier for rumur (Murphi): one rule per numbered line of benchmarks/models/interval.py.
-- The constants V, H, K, P, F and FORGETFUL come in front of this file:
--   const V: 2; H: 1; K: 2; P: 1; F: 2; FORGETFUL: false;
-- Dead locals are cleared.
type
  dev_t: 1 .. V;
  inv_t: 1 .. H;
  page_t: 0 .. P - 1;
  frame_t: 1 .. F;
  frame0_t: 0 .. F;
  seq_t: 0 .. 2 * H * K + 2;
  dpc_t: enum { d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10 };
  ipc_t: enum { i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11, i12 };

var
  spte: array [page_t] of frame0_t;
  pte: array [page_t] of frame0_t;
  owner: array [frame_t] of 0 .. P;
  seq: seq_t;
  seen: seq_t;
  active: 0 .. H;
  core_lock: boolean;
  user_lock: boolean;
  dev: array [dev_t] of record pc: dpc_t; g: page_t; s: seq_t; busy: boolean; p: frame0_t; end;
  inv: array [inv_t] of record pc: ipc_t; k: 0 .. K; g: page_t; cur: seq_t; old: frame0_t; end;

startstate "init"
begin
  for g: page_t do spte[g] := 0; pte[g] := 0; end;
  for f: frame_t do owner[f] := 0; end;
  seq := 2; seen := 1; active := 0; core_lock := false; user_lock := false;
  for i: dev_t do dev[i].pc := d0; dev[i].g := 0; dev[i].s := 0; dev[i].busy := false; dev[i].p := 0; end;
  for i: inv_t do inv[i].pc := i0; inv[i].k := 0; inv[i].g := 0; inv[i].cur := 0; inv[i].old := 0; end;
end;

ruleset i: dev_t do
  alias t: dev[i] do
    ruleset g: page_t do
      rule "d0 choose page" t.pc = d0 ==> begin t.g := g; t.pc := d1; end;
    end;
    rule "d1 access" t.pc = d1 & spte[t.g] != 0 ==>
    begin
      assert owner[spte[t.g]] = t.g + 1 "access to a frame that the page does not own";
      t.g := 0; t.pc := d0;
    end;
    rule "d1 fault" t.pc = d1 & spte[t.g] = 0 ==> begin t.pc := d2; end;
    rule "d2 lock" t.pc = d2 & !core_lock ==> begin core_lock := true; t.pc := d3; end;
    rule "d3 read" t.pc = d3 ==> begin t.s := seen; t.busy := seen = seq; t.pc := d4; end;
    rule "d4 unlock" t.pc = d4 ==>
    begin
      core_lock := false;
      if t.busy then t.pc := d5; else t.pc := d6; end;
      t.busy := false;
    end;
    rule "d5 wait" t.pc = d5 & seq != t.s ==> begin t.pc := d6; end;
    rule "d6 get_user_page"
      t.pc = d6 & (pte[t.g] != 0 | exists f: frame_t do owner[f] = 0 end) ==>
    var done: boolean;
    begin
      if pte[t.g] = 0 then
        done := false;
        for f: frame_t do
          if !done & owner[f] = 0 then owner[f] := t.g + 1; pte[t.g] := f; done := true; end;
        end;
      end;
      t.p := pte[t.g]; t.pc := d7;
    end;
    rule "d7 lock" t.pc = d7 & !user_lock ==> begin user_lock := true; t.pc := d8; end;
    rule "d8 retry?" t.pc = d8 ==>
    begin
      if seen != t.s then t.p := 0; t.pc := d10; else t.pc := d9; end;
      t.s := 0;
    end;
    rule "d9 spte = p" t.pc = d9 ==> begin spte[t.g] := t.p; t.p := 0; t.pc := d10; end;
    rule "d10 unlock" t.pc = d10 ==> begin user_lock := false; t.pc := d1; end;
  end;
end;

ruleset i: inv_t do
  alias t: inv[i] do
    ruleset g: page_t do
      rule "i0 choose page" t.pc = i0 & t.k < K ==> begin t.g := g; t.pc := i1; end;
    end;
    rule "i1 lock" t.pc = i1 & !core_lock ==> begin core_lock := true; t.pc := i2; end;
    rule "i2 start" t.pc = i2 ==>
    begin
      active := active + 1;
      if seq % 2 = 0 then seq := seq + 1; end;
      if !FORGETFUL then t.cur := seq; end;
      t.pc := i3;
    end;
    rule "i3 unlock" t.pc = i3 ==> begin core_lock := false; t.pc := i4; end;
    rule "i4 lock" t.pc = i4 & !user_lock ==>
    begin
      user_lock := true;
      if FORGETFUL then t.pc := i6; else t.pc := i5; end;
    end;
    rule "i5 set_seq" t.pc = i5 ==> begin seen := t.cur; t.cur := 0; t.pc := i6; end;
    rule "i6 spte = 0" t.pc = i6 ==> begin spte[t.g] := 0; t.pc := i7; end;
    rule "i7 unlock" t.pc = i7 ==> begin user_lock := false; t.pc := i8; end;
    rule "i8 old = pte, pte = 0" t.pc = i8 ==>
    begin
      t.old := pte[t.g]; pte[t.g] := 0; t.g := 0; t.pc := i9;
    end;
    rule "i9 free old" t.pc = i9 ==>
    begin
      if t.old != 0 then owner[t.old] := 0; end;
      t.old := 0; t.pc := i10;
    end;
    rule "i10 lock" t.pc = i10 & !core_lock ==> begin core_lock := true; t.pc := i11; end;
    rule "i11 end" t.pc = i11 ==>
    begin
      active := active - 1;
      if active = 0 then seq := seq + 1; end;
      t.pc := i12;
    end;
    rule "i12 unlock" t.pc = i12 ==> begin core_lock := false; t.k := t.k + 1; t.pc := i0; end;
  end;
end;
