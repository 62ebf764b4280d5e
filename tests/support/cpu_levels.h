/* The level of instructions is chosen once per process, so each is tested in a child of its own; the parent
 * must have no threads when it forks. */
#ifndef QG_TESTS_CPU_LEVELS_H
#define QG_TESTS_CPU_LEVELS_H

/* Runs `failures_of` on every level of this processor; the number of levels on which it returned something
 * but 0. */
int on_every_cpu_level(int (*failures_of)(void));

#endif
