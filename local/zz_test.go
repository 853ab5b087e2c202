package local
import ("os";"strconv")
func init(){ if v:=os.Getenv("SPINN");v!=""{spinN,_=strconv.Atoi(v)}; if v:=os.Getenv("SPINK");v!=""{spinK,_=strconv.Atoi(v)}}
