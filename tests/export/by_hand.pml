/* by hand: one CPU, * / nobody else

   SPIN stores as many states of this as unpinned counts where the plan holds, and says what goes wrong. (Where it
   races unpinned stops at the first race, and SPIN goes on.)

     spin -a -o1 -o2 -o3 model.pml
     gcc -O2 -DSAFETY -DNOREDUCE -DNOFAIR -DVECTORSZ=16384 -DMEMLIM=8000 -o pan pan.c
     ./pan -c0 -n -m10000000       "broken!=CODE": a rule breaks; "invalid end state": a deadlock
     ./pan -c0 -n -m10000000 -E    errors: states that break a promised rule or reach a limit
     ./pan -c0 -n -m10000000 -A    errors: deadlocks

   If pan says "max search depth too small", its figures are those of a part: search again with a larger -m.
   SPIN does not judge whether a fault is replayed for ever, which is part of the rule progress.

   promised: leak */

#define LEAK 8
#define LIMIT 10

byte broken;  /* the rule that the last step broke: no thread moves any more */
bit plan_mmu_lock;  /* spinlock, 0..1 */
byte plan_seq;  /* int, 0..3 */

active proctype CPU0()
{
	byte fault_y;  /* int, 0..3 */
L0:	if  /* plan.py:1 method: y = self.seq */
	:: atomic { broken == 0 && !plan_mmu_lock ->
		plan_mmu_lock = 1;
		goto L1 }
	fi;
L1:	if  /* plan.py:2 method: y = self.seq */
	:: atomic { broken == 0 ->
		if
		:: plan_seq == 3 && (plan_mmu_lock || plan_seq - (fault_y - 1) < 2) ->
			if
			:: 0 < plan_seq + 1 && 0 != 2 ->
				fault_y = 0
			:: 1 < plan_seq + 1 && 1 != 2 ->
				fault_y = 1
			:: 2 < plan_seq + 1 && 2 != 2 ->
				fault_y = 2
			:: 3 < plan_seq + 1 && 3 != 2 ->
				fault_y = 3
			fi;
			goto L0
		:: else ->
			if
			:: !(plan_seq < 3) ->
				broken = LIMIT;
				goto L1  /* seq is at its width */
			:: else
			fi;
			plan_seq = plan_seq + 1;
			goto end_done
		fi }
	fi;
end_done:
	false
}

active proctype stopped()
{
end:	do
	:: d_step { broken == LEAK -> assert(broken != LEAK) }
	:: d_step { broken == LIMIT -> assert(broken != LIMIT) }
	od
}
