"""How the dashboard looks: the terminal's own sixteen colours on its own background, so that light and dark both hold.

Nothing is said by colour alone: every state has a sign or a word.
"""

THEME = "ansi-dark"

DIALOG_COLUMNS = 76

CSS = f"""
Screen {{ layout: vertical; background: ansi_default; color: ansi_default; }}
#head {{ height: auto; max-height: 8; padding: 0 1; }}
#head, #asked {{ text-wrap: nowrap; text-overflow: ellipsis; }}
#asked {{ height: 1; padding: 0 1; color: ansi_yellow; text-style: bold; }}
#said {{ height: auto; max-height: 4; padding: 0 1; }}
.nothing {{ display: none; }}
Rows {{ height: 1fr; padding: 0 1; background: ansi_default; scrollbar-gutter: stable; }}
#phases {{ height: 4; }}
#agents {{ height: 1fr; margin-top: 1; }}
#log {{ height: 5; margin-top: 1; }}
.short #log {{ display: none; }}
.short #agents {{ margin-top: 0; }}
.tiny #head {{ max-height: 1; }}
#log.tall {{ display: block; height: 3fr; }}
#page {{ height: 1fr; }}
ModalScreen {{ align: center middle; background: transparent; }}
.dialog {{
    width: {DIALOG_COLUMNS}; max-width: 100%; height: auto; max-height: 100%;
    border: round ansi_blue; padding: 0 1; background: ansi_default;
}}
.dialog .title {{ height: auto; margin-bottom: 1; }}
.dialog .body {{ height: auto; max-height: 16; margin-bottom: 1; }}
.dialog Rows {{ padding: 0; }}
Reading .dialog .body {{ margin-bottom: 0; }}
Input {{ border: none; height: 1; padding: 0; margin-bottom: 1; background: ansi_default; }}
Toast {{ max-width: {DIALOG_COLUMNS}; width: auto; border-left: thick ansi_blue; background: ansi_default; }}
Toast.-error {{ border-left: thick ansi_red; }}
"""
