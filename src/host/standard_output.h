/* One standard output for both languages. */

#ifndef ML_STANDARD_OUTPUT_H
#define ML_STANDARD_OUTPUT_H

/* Makes Python's sys.stdout write to C's stdout, which Lua's print and io.write use: what both
   languages print stays in order, also into a pipe. 0, or -1 with an exception. */
int ml_share_stdout(void);

#endif
