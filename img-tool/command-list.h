/* Every subcommand, in alphabetical order: COMMAND(name) is the table name_command in cmd-name.c.
 */
COMMAND(amend)
COMMAND(check)
COMMAND(commit)
COMMAND(compare)
COMMAND(convert)
COMMAND(create)
COMMAND(info)
COMMAND(map)
COMMAND(measure)
COMMAND(rebase)
COMMAND(snapshot)
