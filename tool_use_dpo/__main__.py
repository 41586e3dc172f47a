from tool_use_dpo.cli import main
main()
