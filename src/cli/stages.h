/* stages: the operand of --stages, shared by `run` and `check`. */
#ifndef TOCSIN_CLI_STAGES_H
#define TOCSIN_CLI_STAGES_H

/* "ingest,detect" as TSN_STAGE_… (tocsin/app.h); 0 after printing why. */
unsigned tsn_cli_stages(const char *text);

#endif
