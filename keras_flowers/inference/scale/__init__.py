"""More photos than one sitting: work cut into parts, by any number of processes and machines."""
