/* Ctrl-C and Ctrl-\ in the program. */

#ifndef ML_INTERRUPT_H
#define ML_INTERRUPT_H

#include <lua.h>
#include <stdbool.h>

/* Installs the handler of SIGINT. Again after Python has started, which installs its own: both
   languages are interrupted then, and Python's KeyboardInterrupt is what arrives. */
void ml_interrupt_install(void);

/* From now on SIGQUIT (Ctrl-\) writes all tasks with their stacks to stderr. Python has started. */
void ml_interrupt_install_dump(void);

/* `L` is about to run a script (NULL: it has ended). */
void ml_interrupt_watch(lua_State *L);

/* Whether SIGINT came since the last question, while no script was running. */
bool ml_interrupt_was_idle(void);

#endif
